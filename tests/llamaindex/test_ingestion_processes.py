"""Ingestion in several processes, while a server dies."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from llama_index.core import SimpleDirectoryReader  # noqa: F401 - what applications import too
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.ingestion.pipeline import DocstoreStrategy
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore

from failover_core import ConfigurationError
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import Scripted, over_http, sent_to, served_vectors
from tests.llamaindex.ingestion import (
    check,
    check_sent,
    documents,
    dying_after,
    embed_in_process,
)
from tests.llamaindex.servers_elsewhere import Elsewhere, ServerElsewhere

Servers = tuple[ServerElsewhere, ServerElsewhere]

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

WORKERS = 2
BATCH = 5


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """A process for servers."""
    process = Elsewhere()
    yield process
    process.close()


@pytest.fixture
def servers(elsewhere: Elsewhere) -> Iterator[Servers]:
    """Two servers that no worker process can inherit."""
    with elsewhere.server(latency=0.02) as one, elsewhere.server(latency=0.02) as other:
        yield one, other


@pytest.fixture(params=["wrapped", "urls"])
def pool(request: pytest.FixtureRequest, servers: Servers) -> Iterator[FailoverEmbedding]:
    """A pool over two living servers."""
    if request.param == "wrapped":
        children = [over_http(server, embed_batch_size=BATCH) for server in servers]
        pool = FailoverEmbedding(targets=children)
    else:
        urls = [server.url for server in servers]
        pool = FailoverEmbedding.from_urls(urls, model="m", embed_batch_size=BATCH)
    yield pool
    pool.router.close()


def pipeline_of(pool: FailoverEmbedding) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0), pool],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.DUPLICATES_ONLY,
    )


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_pipeline_with_workers_embeds_every_node_once_while_a_server_dies(
    pool: FailoverEmbedding,
    servers: Servers,
    is_async: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    pipeline, given = pipeline_of(pool), documents(60)
    texts = [document.text for document in given]

    with dying_after(servers[0], 4):
        if is_async:
            nodes = await pipeline.arun(documents=given, num_workers=WORKERS)
        else:
            nodes = pipeline.run(documents=given, num_workers=WORKERS)

    check(nodes, texts)
    # An async call of LlamaIndex has all its batches on their way at once.
    in_flight = len(texts) // BATCH if is_async else WORKERS
    check_sent(servers, texts, lost_requests=in_flight, batch=BATCH)
    assert sent_to(servers[1], among=texts)

    # All of it is in the docstore, and in the cache under the same name in each process.
    assert not pipeline.run(documents=given, num_workers=WORKERS)
    pipeline.docstore = None
    servers[1].clear()
    check(pipeline.run(documents=given, num_workers=WORKERS), texts)
    assert not sent_to(servers[1], among=texts)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_pool_used_before_works_in_processes_of_either_kind(
    pool: FailoverEmbedding, servers: Servers, method: str
) -> None:
    texts = [document.text for document in documents(40)]
    parts = [texts[start::4] for start in range(4)]
    assert pool.get_text_embedding_batch(texts) == served_vectors(texts)
    for server in servers:
        server.clear()

    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(WORKERS, mp_context=context) as processes, dying_after(servers[0], 2):
        answers = list(processes.map(embed_in_process, [pool] * 4, parts))

    assert [vectors for vectors, _ in answers] == [served_vectors(part) for part in parts]
    assert {identity for _, identity in answers} == {str(pool.to_dict())}
    check_sent(servers, texts, lost_requests=WORKERS, batch=BATCH)
    assert pool.get_text_embedding_batch(texts) == served_vectors(texts)


class Unpicklable(Scripted):
    """An embedding with a lock in it."""

    lock: Any = None


def test_a_pickle_leaves_the_pool_and_its_targets_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    child = Unpicklable(lock=multiprocessing.Lock())
    limiter = TokenBucketRateLimiter(requests_per_minute=6000)
    pool = FailoverEmbedding(
        targets=[child], rate_limiter=limiter, embeddings_cache=SimpleKVStore(), num_workers=2
    )
    wanted = pool.get_text_embedding_batch(["boat", "harbour"])

    copy = pickle.loads(pickle.dumps(pool))  # noqa: S301 - our own

    assert child.lock is not None
    assert pool.rate_limiter is limiter
    assert "rate_limiter cannot be pickled" in caplog.text
    assert copy.rate_limiter is None
    assert copy.num_workers == 2
    assert copy.embeddings_cache.get("boat", collection="embeddings")
    assert copy.router is not pool.router
    assert copy.get_text_embedding_batch(["boat", "harbour"]) == wanted
    assert pool.get_text_embedding_batch(["boat", "harbour"]) == wanted


def test_a_key_is_not_pickled_into_a_worker() -> None:
    pool = FailoverEmbedding.from_urls("http://127.0.0.1:9", model="m", api_key="sk-canary-0123")

    with pytest.raises(ConfigurationError, match="pickle must not carry it") as raised:
        IngestionPipeline(transformations=[pool]).run(documents=documents(2), num_workers=WORKERS)

    assert "sk-canary" not in str(raised.value)
