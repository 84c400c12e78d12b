"""Embeddings from threads, from several event loops, and where a loop runs already."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.async_utils import asyncio_run, run_async_tasks
from llama_index.core.llms import MockLLM

from failover_core import AllTargetsFailedError
from failover_core.testing import FaultServer
from failover_core.testing.faults import Status
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import TEXTS, over_http, served_vectors

Servers = tuple[FaultServer, FaultServer]

WANTED = served_vectors(TEXTS)


@pytest.fixture(params=["wrapped", "urls"])
def pool(request: pytest.FixtureRequest, pair: Servers) -> Iterator[FailoverEmbedding]:
    """A pool over two servers, the first of which is dead in half of the tests."""
    if request.param == "wrapped":
        # A vendor's client that is reused belongs to the first loop it was used in.
        children = [over_http(server, reuse_client=False) for server in pair]
        pool = FailoverEmbedding(targets=children, embed_batch_size=2)
    else:
        urls = [server.url for server in pair]
        pool = FailoverEmbedding.from_urls(urls, model="m", embed_batch_size=2)
    yield pool
    pool.router.close()


async def test_synchronous_calls_work_inside_a_running_loop(pool: FailoverEmbedding) -> None:
    assert pool.get_text_embedding_batch(TEXTS) == WANTED
    assert pool.get_query_embedding(TEXTS[0]) == WANTED[0]
    assert await pool.aget_text_embedding_batch(TEXTS) == WANTED
    assert pool.get_text_embedding(TEXTS[0]) == WANTED[0]

    index = VectorStoreIndex.from_documents(
        [Document(text=text) for text in TEXTS], embed_model=pool, use_async=True
    )
    assert str(index.as_query_engine(llm=MockLLM(), use_async=True).query(TEXTS[1]))


async def test_llamaindex_runs_it_in_a_loop_beside_the_running_one(pool: FailoverEmbedding) -> None:
    for _ in range(3):
        assert asyncio_run(pool.aget_text_embedding_batch(TEXTS)) == WANTED
        assert run_async_tasks([pool.aget_text_embedding(text) for text in TEXTS]) == WANTED
    assert await pool.aget_text_embedding_batch(TEXTS) == WANTED


async def test_a_failure_in_a_nested_loop_keeps_its_own_name(servers: Servers) -> None:
    for server in servers:
        server.fault = Status(500)
    pool = FailoverEmbedding.from_urls([server.url for server in servers], model="m")

    with pytest.raises(AllTargetsFailedError):
        asyncio_run(pool.aget_text_embedding_batch(TEXTS))
    pool.router.close()


def test_loops_and_threads_use_one_pool_at_once(pool: FailoverEmbedding) -> None:
    def in_a_loop(_: int) -> list[list[float]]:
        return asyncio.run(pool.aget_text_embedding_batch(TEXTS))

    def in_a_thread(_: int) -> list[list[float]]:
        return pool.get_text_embedding_batch(TEXTS)

    with ThreadPoolExecutor(8) as threads:
        answers = [*threads.map(in_a_loop, range(6)), *threads.map(in_a_thread, range(6))]

    assert all(answer == WANTED for answer in answers)
    assert all(target.in_flight == 0 for target in pool.router.status().targets)


async def test_many_tasks_of_one_loop_use_one_pool_at_once(pool: FailoverEmbedding) -> None:
    answers = await asyncio.gather(*(pool.aget_text_embedding_batch(TEXTS) for _ in range(6)))

    assert all(answer == WANTED for answer in answers)
    await pool.router.aclose()
