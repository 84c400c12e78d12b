"""FailoverEmbeddings where applications put embeddings: caches, stores, filters, splitters."""

from __future__ import annotations

import contextlib
import copy
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore

from failover_core.errors import (
    AllTargetsFailedError,
    ConfigurationError,
    EmbeddingSpaceMismatchError,
)
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverEmbeddings

Servers = tuple[FaultServer, FaultServer]
DIMENSION = 384
FACTS = [
    "The harbour of Ostend was dug in 1445.",
    "A copper kettle boils water faster than an iron one.",
    "The glacier loses two metres of ice every summer.",
]
QUESTION = "When was the harbour dug?"

pytestmark = pytest.mark.filterwarnings("ignore:.* is being sunset:DeprecationWarning")


@pytest.fixture(params=["healthy", "dead", "dying"])
def embeddings(request: pytest.FixtureRequest, servers: Servers) -> FailoverEmbeddings:
    """A pool whose primary is well, is dead, or dies after its first request."""
    if request.param == "dead":
        servers[0].stop()
    if request.param == "dying":
        servers[0].script([None, *[faults.Reset()] * 1000])
    return pool(servers)


def pool(servers: Sequence[FaultServer], **settings: Any) -> FailoverEmbeddings:
    urls = [server.url for server in servers]
    return FailoverEmbeddings.from_urls(
        urls, **{"model": "BAAI/bge:m", "dimension": DIMENSION, "batch_size": 1, **settings}
    )


def cached(embeddings: Embeddings, store: Any, namespace: str) -> CacheBackedEmbeddings:
    return CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        store,
        namespace=namespace,
        key_encoder="sha256",
        query_embedding_cache=InMemoryByteStore(),
    )


async def embed(embeddings: Embeddings, *, is_async: bool) -> list[list[float]]:
    if is_async:
        return [
            *await embeddings.aembed_documents(FACTS),
            await embeddings.aembed_query(QUESTION),
        ]
    return [*embeddings.embed_documents(FACTS), embeddings.embed_query(QUESTION)]


# Caches


async def test_a_cache_of_files_answers_again_when_every_server_is_dead(
    is_async: bool,  # noqa: FBT001
    embeddings: FailoverEmbeddings,
    servers: Servers,
    tmp_path: Path,
) -> None:
    store = LocalFileStore(tmp_path)
    cache = cached(embeddings, store, embeddings.cache_namespace)
    expected = await embed(cache, is_async=is_async)
    for server in servers:
        server.stop()

    assert await embed(cache, is_async=is_async) == expected
    again = cached(pool(servers), store, pool(servers).cache_namespace)
    assert again.embed_documents(FACTS) == expected[:-1]


def test_pools_that_differ_in_model_or_dimension_share_no_cached_vector(servers: Servers) -> None:
    pools = [pool(servers), pool(servers, model="BAAI-bge-m"), pool(servers, dimension=96)]

    namespaces = [one.cache_namespace for one in pools]

    assert len(set(namespaces)) == len(pools)
    assert namespaces[0].startswith("BAAI-bge-m-384-")


def test_the_namespace_does_not_depend_on_who_has_answered(
    embeddings: FailoverEmbeddings, servers: Servers
) -> None:
    before = embeddings.cache_namespace
    embeddings.embed_documents(FACTS)

    assert embeddings.cache_namespace == before == pool(servers[1:]).cache_namespace


@pytest.mark.parametrize("left_out", ["model", "dimension"])
def test_without_a_declared_space_there_is_no_namespace(left_out: str) -> None:
    settings: Any = {"model": "m", "dimension": 3, left_out: None}
    embeddings = FailoverEmbeddings(targets=[DeterministicFakeEmbedding(size=3)], **settings)

    with pytest.raises(ConfigurationError, match=f"cache_namespace needs {left_out}=.*declare it"):
        _ = embeddings.cache_namespace


async def test_a_vector_of_another_model_never_reaches_the_cache(
    is_async: bool,  # noqa: FBT001
    servers: Servers,
) -> None:
    servers[0].stop()
    other = DeterministicFakeEmbedding(size=7)
    targets = [servers[0].url, other]
    embeddings = FailoverEmbeddings(targets=targets, model="m", dimension=DIMENSION)
    store = InMemoryByteStore()

    with pytest.raises(AllTargetsFailedError):
        await embed(cached(embeddings, store, embeddings.cache_namespace), is_async=is_async)

    assert list(store.yield_keys()) == []


class Named(DeterministicFakeEmbedding):
    """Embeddings that name their model."""

    model: str


def test_the_model_is_what_the_targets_agree_on() -> None:
    embeddings = FailoverEmbeddings(targets=[Named(size=3, model="small")] * 2)
    others = [Named(size=3, model="large")]

    assert embeddings.model == "small"
    for one in (embeddings, copy.deepcopy(embeddings), pickle.loads(pickle.dumps(embeddings))):  # noqa: S301
        moved = one.model_copy(update={"targets": others})
        moved.embed_query("x")
        assert (one.model, moved.model) == ("small", "large")


# Stores


async def test_a_vector_store_is_filled_and_searched(
    is_async: bool,  # noqa: FBT001
    embeddings: FailoverEmbeddings,
) -> None:
    if is_async:
        store = await InMemoryVectorStore.afrom_texts(FACTS, embeddings)
        found = await store.asimilarity_search(QUESTION, k=1)
    else:
        store = InMemoryVectorStore.from_texts(FACTS, embeddings)
        found = store.similarity_search(QUESTION, k=1)

    assert [one.page_content for one in found] == FACTS[:1]


async def test_a_langgraph_store_finds_by_meaning(
    is_async: bool,  # noqa: FBT001
    embeddings: FailoverEmbeddings,
) -> None:
    from langgraph.store.memory import InMemoryStore  # noqa: PLC0415 - slow to import

    store = InMemoryStore(index={"dims": DIMENSION, "embed": embeddings})
    for number, fact in enumerate(FACTS):
        if is_async:
            await store.aput(("facts",), str(number), {"text": fact})
        else:
            store.put(("facts",), str(number), {"text": fact})

    if is_async:
        found = await store.asearch(("facts",), query=QUESTION, limit=1)
    else:
        found = store.search(("facts",), query=QUESTION, limit=1)

    assert [one.value["text"] for one in found] == FACTS[:1]


async def test_parents_of_small_chunks_are_found(
    is_async: bool,  # noqa: FBT001
    embeddings: FailoverEmbeddings,
) -> None:
    from langchain_classic.retrievers import ParentDocumentRetriever  # noqa: PLC0415 - slow
    from langchain_core.stores import InMemoryStore  # noqa: PLC0415
    from langchain_text_splitters import RecursiveCharacterTextSplitter  # noqa: PLC0415 - slow

    retriever = ParentDocumentRetriever(
        vectorstore=InMemoryVectorStore(embeddings),
        docstore=InMemoryStore(),
        child_splitter=RecursiveCharacterTextSplitter(chunk_size=30, chunk_overlap=0),
    )
    documents = [Document(fact) for fact in FACTS]
    if is_async:
        await retriever.aadd_documents(documents)
        found = await retriever.ainvoke(QUESTION)
    else:
        retriever.add_documents(documents)
        found = retriever.invoke(QUESTION)

    assert found[0].page_content == FACTS[0]


# Filters and splitters


async def test_an_embeddings_filter_keeps_what_fits_the_question(
    is_async: bool,  # noqa: FBT001
    embeddings: FailoverEmbeddings,
) -> None:
    from langchain_classic.retrievers.document_compressors import (  # noqa: PLC0415 - slow to import
        EmbeddingsFilter,
    )

    keep_one = EmbeddingsFilter(embeddings=embeddings, k=1)
    documents = [Document(fact) for fact in FACTS]
    if is_async:
        kept = await keep_one.acompress_documents(documents, QUESTION)
    else:
        kept = keep_one.compress_documents(documents, QUESTION)

    assert [one.page_content for one in kept] == FACTS[:1]


def test_a_semantic_chunker_cuts_where_the_bare_embeddings_would(
    embeddings: FailoverEmbeddings, servers: Servers
) -> None:
    from langchain_experimental.text_splitter import SemanticChunker  # noqa: PLC0415 - slow

    text = " ".join(FACTS * 3)
    chunks = SemanticChunker(embeddings).split_text(text)

    assert chunks == SemanticChunker(pool(servers[1:])).split_text(text)
    assert len(chunks) > 1


@contextlib.contextmanager
def only(server: FaultServer, servers: Servers) -> Iterator[None]:
    """Let one server alone live."""
    for one in servers:
        if one is not server:
            one.stop()
    yield
    for one in servers:
        one.start()


@pytest.mark.parametrize("number", [0, 1])
def test_what_one_server_indexed_another_finds(number: int, servers: Servers) -> None:
    embeddings = pool(servers)
    with only(servers[number], servers):
        store = InMemoryVectorStore.from_texts(FACTS, embeddings)

    with only(servers[1 - number], servers):
        found = store.similarity_search_with_score(FACTS[0], k=1)

    ((document, score),) = found
    assert document.page_content == FACTS[0]
    assert score == pytest.approx(1)


# A cache below


class Restarted(DeterministicFakeEmbedding):
    """Embeds otherwise from one day to the next, under one name."""

    day: int = 1

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return super().embed_documents([f"{self.day} {text}" for text in texts])


def test_a_cache_below_a_pool_does_not_hide_that_its_model_has_changed(tmp_path: Path) -> None:
    model = Restarted(size=16)
    cached = CacheBackedEmbeddings.from_bytes_store(
        model, LocalFileStore(tmp_path), namespace="m", key_encoder="sha256"
    )
    embeddings = FailoverEmbeddings(targets=[cached], verify="always")
    first = embeddings.embed_documents(["one"])
    assert np.allclose(embeddings.embed_documents(["one"]), first)

    model.day = 2
    with pytest.raises(EmbeddingSpaceMismatchError):
        embeddings.embed_documents(["one", "two"])
