"""Ingestion pipelines over a pool: what LlamaIndex's own tests ask, and a server that dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import DocstoreStrategy, get_transformation_hash
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.readers import ReaderConfig, StringIterableReader
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore

from failover_core import AllTargetsFailedError, PartialEmbeddingError
from failover_core.testing import FaultServer
from failover_core.testing.faults import Status
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import over_http, sent_to, served_vectors
from tests.llamaindex.ingestion import check, check_sent, documents, dying_after, text_of

Servers = tuple[FaultServer, FaultServer]

SPLITTER = SentenceSplitter(chunk_size=25, chunk_overlap=0)


@pytest.fixture(params=["wrapped", "urls"])
def pool(request: pytest.FixtureRequest, pair: Servers) -> Iterator[FailoverEmbedding]:
    """A pool over two servers, the first of which is dead in half of the tests."""
    if request.param == "wrapped":
        children = [over_http(server, embed_batch_size=5) for server in pair]
        pool = FailoverEmbedding(targets=children)
    else:
        urls = [server.url for server in pair]
        pool = FailoverEmbedding.from_urls(urls, model="m", embed_batch_size=5)
    yield pool
    pool.router.close()


@pytest.fixture(params=["run", "arun"])
def run(request: pytest.FixtureRequest) -> Any:
    """Run a pipeline through its sync or its async door, in a coroutine."""

    async def ingest(pipeline: IngestionPipeline, **options: Any) -> Sequence[BaseNode]:
        if request.param == "run":
            return pipeline.run(**options)
        return await pipeline.arun(**options)

    return ingest


def with_docstore(pool: BaseEmbedding, strategy: DocstoreStrategy, **more: Any) -> Any:
    return IngestionPipeline(
        transformations=[SPLITTER, pool],
        docstore=SimpleDocumentStore(),
        docstore_strategy=strategy,
        **more,
    )


async def test_documents_and_readers_are_embedded(pool: FailoverEmbedding, run: Any) -> None:
    reader = ReaderConfig(
        reader=StringIterableReader(), reader_kwargs={"texts": ["This is from a reader."]}
    )
    pipeline = IngestionPipeline(
        readers=[reader], documents=documents(12), transformations=[SPLITTER, pool]
    )

    texts = [document.text for document in documents(12)]
    check(await run(pipeline), [*texts, "This is from a reader."])


async def test_nodes_keep_their_documents_and_metadata(pool: FailoverEmbedding, run: Any) -> None:
    given = documents(7)
    for number, document in enumerate(given):
        document.metadata = {"page": number}
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), pool])

    nodes = await run(pipeline, documents=given)

    assert [node.metadata["page"] for node in nodes] == list(range(7))
    assert [node.ref_doc_id for node in nodes] == [document.id_ for document in given]
    assert [node.embedding for node in nodes] == served_vectors(map(text_of, nodes))


async def test_the_default_pipeline_takes_the_embedding_of_the_settings(
    pool: FailoverEmbedding, run: Any
) -> None:
    before = Settings._embed_model
    try:
        Settings.embed_model = pool
        nodes = await run(IngestionPipeline(), documents=documents(3))
    finally:
        Settings._embed_model = before

    check(nodes, [document.text for document in documents(3)])


async def test_the_docstore_keeps_known_documents_out(pool: FailoverEmbedding, run: Any) -> None:
    pipeline = with_docstore(pool, DocstoreStrategy.DUPLICATES_ONLY)
    twice = [*documents(3), *documents(2)]

    check(await run(pipeline, documents=twice), [document.text for document in documents(3)])
    assert not await run(pipeline, documents=twice)
    changed = Document(text="The boat is back.", id_="document 0")
    check(await run(pipeline, documents=[changed]), ["The boat is back."])


async def test_upserts_change_and_delete_what_is_in_the_index(
    pool: FailoverEmbedding, run: Any
) -> None:
    store = SimpleVectorStore()
    strategy = DocstoreStrategy.UPSERTS_AND_DELETE
    pipeline = with_docstore(pool, strategy, vector_store=store)

    await run(pipeline, documents=documents(4))
    changed = [Document(text="The boat is back.", id_="document 0"), *documents(3)[1:]]
    check(await run(pipeline, documents=changed), ["The boat is back."])

    assert set(pipeline.docstore.docs) == {"document 0", "document 1", "document 2"}
    assert len(store.data.embedding_dict) == 3
    wanted = served_vectors(document.text for document in changed)
    assert sorted(store.data.embedding_dict.values()) == sorted(wanted)


async def test_a_pipeline_is_saved_and_loaded_with_its_cache(
    pool: FailoverEmbedding, pair: Servers, run: Any, tmp_path: Path
) -> None:
    texts = [document.text for document in documents(12)]
    first = with_docstore(pool, DocstoreStrategy.DUPLICATES_ONLY)
    given = documents(12)
    check(await run(first, documents=given), texts)
    first.persist(str(tmp_path))
    for server in pair:
        server.clear()

    second = with_docstore(pool, DocstoreStrategy.DUPLICATES_ONLY)
    second.load(str(tmp_path))
    assert not await run(second, documents=given)
    second.docstore = None
    check(await run(second, documents=given), texts)

    assert not sent_to(*pair, among=texts)


def test_the_cache_knows_it_by_its_space(pool: FailoverEmbedding, pair: Servers) -> None:
    cache = IngestionCache()
    nodes = documents(3)
    key = get_transformation_hash(nodes, pool)
    cache.put(key, pool(nodes))

    same = FailoverEmbedding.from_urls("http://c", model="m", embed_batch_size=5)
    other = FailoverEmbedding.from_urls(pair[1].url, model="n", embed_batch_size=5)
    found = cache.get(get_transformation_hash(documents(3), same))

    assert found is not None
    check(found, [document.text for document in documents(3)])
    assert cache.get(get_transformation_hash(documents(3), other)) is None
    assert cache.get(get_transformation_hash(documents(2), pool)) is None
    cache.clear()
    assert cache.get(key) is None


class Raising(TransformComponent):
    """A transformation that fails."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        message = "the parser broke"
        raise ValueError(message)


async def test_errors_of_other_transformations_are_theirs(
    pool: FailoverEmbedding, run: Any
) -> None:
    pipeline = IngestionPipeline(
        transformations=[SPLITTER, pool, Raising()],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.UPSERTS,
        vector_store=SimpleVectorStore(),
    )

    with pytest.raises(ValueError, match="the parser broke"):
        await run(pipeline, documents=documents(2))

    assert pipeline.docstore is not None
    assert not pipeline.docstore.docs
    assert all(not target.failures for target in pool.router.status().targets[1:])


async def test_every_node_is_embedded_once_while_a_server_dies(servers: Servers, run: Any) -> None:
    for server in servers:
        server.latency = 0.01
    pool = FailoverEmbedding(
        targets=[over_http(server, embed_batch_size=5, num_workers=3) for server in servers]
    )
    given = documents(120)
    texts = [document.text for document in given]

    with dying_after(servers[0], 5):
        nodes = await run(with_docstore(pool, DocstoreStrategy.DUPLICATES_ONLY), documents=given)

    check(nodes, texts)
    check_sent(servers, texts, lost_requests=3, batch=5)
    assert sent_to(servers[1], among=texts)


async def test_after_an_outage_of_all_the_next_run_sends_only_what_is_missing(
    servers: Servers, run: Any
) -> None:
    pool = FailoverEmbedding(
        targets=[over_http(server, embed_batch_size=5, num_workers=1) for server in servers],
        embeddings_cache=SimpleKVStore(),
        verify="declared",
    )
    servers[0].script([None, None, None, *[Status(503)] * 50])
    servers[1].fault = Status(503)
    pipeline, given = with_docstore(pool, DocstoreStrategy.DUPLICATES_ONLY), documents(40)
    texts = [document.text for document in given]

    with pytest.raises(PartialEmbeddingError) as caught:
        await run(pipeline, nodes=given)
    assert isinstance(caught.value.__cause__, AllTargetsFailedError)
    kept = set(pool.embeddings_cache.get_all("embeddings"))
    for server in servers:
        server.script([])
        server.fault = None
        server.clear()
    pipeline.docstore = SimpleDocumentStore()
    nodes = await run(pipeline, nodes=given)

    check(nodes, texts)
    assert len(kept) == 15
    assert set(sent_to(*servers, among=texts)) == set(texts) - kept


async def test_an_index_grows_while_a_server_dies(servers: Servers) -> None:
    for server in servers:
        server.latency = 0.01
    pool = FailoverEmbedding(targets=[over_http(server, embed_batch_size=5) for server in servers])
    store = SimpleVectorStore()
    index = VectorStoreIndex([], embed_model=pool)

    with dying_after(servers[0], 4):
        for document in documents(20):
            index.insert(document)
        nodes = await IngestionPipeline(transformations=[SPLITTER, pool], vector_store=store).arun(
            documents=documents(40)
        )

    check(nodes, [document.text for document in documents(40)])
    found = index.as_retriever(similarity_top_k=1).retrieve(documents(20)[13].text)
    assert found[0].node.get_content() == documents(20)[13].text
    assert len(store.data.embedding_dict) == 40
