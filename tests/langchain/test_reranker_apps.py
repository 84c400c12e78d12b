"""FailoverReranker where applications put rerankers: retrievers, pipelines, copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import RunnableLambda
from langchain_text_splitters import CharacterTextSplitter

from failover_core.errors import ConfigurationError
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverEmbeddings, FailoverReranker, FailoverRetriever
from tests.langchain.children import Runs

Servers = tuple[FaultServer, FaultServer]
FACTS = [
    "A copper kettle boils water faster than an iron one.",
    "The harbour of Ostend was dug in 1445.",
    "A harbour seal eats fish.",
]
DOCUMENTS = [Document(fact, metadata={"number": number}) for number, fact in enumerate(FACTS)]
QUESTION = "When was the harbour of Ostend dug?"

pytestmark = pytest.mark.filterwarnings("ignore:.* is being sunset:DeprecationWarning")


@pytest.fixture(params=["healthy", "dead", "failing"])
def reranker(request: pytest.FixtureRequest, servers: Servers) -> FailoverReranker:
    """A pool whose primary is well, is dead, or answers with a document twice."""
    if request.param == "dead":
        servers[0].stop()
    if request.param == "failing":
        servers[0].fault = faults.DuplicateIndex()
    return FailoverReranker.from_urls([one.url for one in servers], model="m", top_n=2)


async def compress(
    compressor: BaseDocumentCompressor, callbacks: Callbacks = None, *, is_async: bool
) -> list[Document]:
    if is_async:
        return list(await compressor.acompress_documents(DOCUMENTS, QUESTION, callbacks))
    return list(compressor.compress_documents(DOCUMENTS, QUESTION, callbacks))


async def test_in_a_contextual_compression_retriever(
    is_async: bool,  # noqa: FBT001
    reranker: FailoverReranker,
) -> None:
    found: RunnableLambda[str, list[Document]] = RunnableLambda(lambda _: DOCUMENTS)
    retriever = ContextualCompressionRetriever(
        base_compressor=reranker, base_retriever=FailoverRetriever(targets=[found])
    )

    ranked = await retriever.ainvoke(QUESTION) if is_async else retriever.invoke(QUESTION)

    assert [one.page_content for one in ranked] == [FACTS[1], FACTS[2]]
    served = {one.metadata["failover"]["target"] for one in ranked}
    assert served < {target.name for target in reranker.router.targets}
    assert DOCUMENTS[1].metadata == {"number": 1}


async def test_in_a_pipeline_behind_a_splitter_and_a_filter(
    is_async: bool,  # noqa: FBT001
    reranker: FailoverReranker,
    servers: Servers,
) -> None:
    from langchain_community.document_transformers import (  # noqa: PLC0415 - slow to import
        EmbeddingsRedundantFilter,
    )

    embeddings = FailoverEmbeddings.from_urls(servers[1].url, model="m")
    pipeline = DocumentCompressorPipeline(
        transformers=[
            CharacterTextSplitter(separator=". ", chunk_size=60, chunk_overlap=0),
            EmbeddingsRedundantFilter(embeddings=embeddings),
            reranker,
        ]
    )

    ranked = await compress(pipeline, is_async=is_async)

    assert [one.metadata["number"] for one in ranked] == [1, 2]


class Asking(BaseDocumentCompressor):
    """Asks a runnable, as rerankers that are made of a chat model do."""

    dies: bool = False

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        nobody: FailoverRetriever = FailoverRetriever(targets=[RunnableLambda(self._judge)])
        nobody.invoke(query, {"callbacks": callbacks})
        return documents

    def _judge(self, _: str) -> list[Document]:
        if self.dies:
            raise ConnectionError
        return []


async def test_runs_inside_a_reranker_are_nested_in_the_run_around_it(
    is_async: bool,  # noqa: FBT001
) -> None:
    retriever = ContextualCompressionRetriever(
        base_compressor=FailoverReranker(targets=[Asking(dies=True), Asking()]),
        base_retriever=RunnableLambda(lambda _: DOCUMENTS),
    )
    runs = Runs()
    config: Any = {"callbacks": [runs]}

    if is_async:
        await retriever.ainvoke(QUESTION, config)
    else:
        retriever.invoke(QUESTION, config)

    (_, outer, none), *inner = runs.started
    assert none is None
    assert [parent for _, _, parent in inner] == [outer, outer]


@pytest.mark.parametrize("callbacks", [None, []])
async def test_callbacks_reach_the_child_as_they_were_given(
    is_async: bool,  # noqa: FBT001
    callbacks: Any,
) -> None:
    heard: list[Any] = []

    class Listening(Asking):
        def compress_documents(
            self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
        ) -> Sequence[Document]:
            heard.append(callbacks)
            return documents

    await compress(FailoverReranker(targets=[Listening()]), callbacks, is_async=is_async)

    assert heard == [callbacks]


async def test_without_documents_nobody_is_asked(
    is_async: bool,  # noqa: FBT001
    reranker: FailoverReranker,
    servers: Servers,
) -> None:
    if is_async:
        ranked = await reranker.acompress_documents([], QUESTION)
    else:
        ranked = reranker.compress_documents([], QUESTION)

    assert ranked == []
    assert not any(server.requests for server in servers)


def test_copies_share_one_router(reranker: FailoverReranker) -> None:
    fewer = reranker.model_copy(update={"top_n": 1})

    for one in (fewer, copy.deepcopy(reranker), copy.copy(reranker)):
        assert one.router is reranker.router
    assert len(fewer.compress_documents(DOCUMENTS, QUESTION)) == 1


def test_a_pickle_is_rebuilt_from_its_settings(reranker: FailoverReranker) -> None:
    again = pickle.loads(pickle.dumps(reranker))  # noqa: S301

    assert again.router is not reranker.router
    ranked = again.compress_documents(DOCUMENTS, QUESTION)
    assert [one.page_content for one in ranked] == [FACTS[1], FACTS[2]]


BAD: list[tuple[Any, Any, str]] = [
    (["text"], QUESTION, r"documents\[0\] is str; it must be a Document"),
    ([DOCUMENTS[0], None], QUESTION, r"documents\[1\] is NoneType"),
    (None, QUESTION, "documents is NoneType; give a list of Documents"),
    (DOCUMENTS, None, "the query is NoneType; it must be a string"),
    (DOCUMENTS, {"input": QUESTION}, "the query is dict"),
]


@pytest.mark.parametrize(("documents", "query", "message"), BAD)
async def test_what_cannot_be_ranked_is_refused_and_nobody_blamed(
    is_async: bool,  # noqa: FBT001
    documents: Any,
    query: Any,
    message: str,
    reranker: FailoverReranker,
) -> None:
    async def rank() -> None:
        if is_async:
            await reranker.acompress_documents(documents, query)
        else:
            reranker.compress_documents(documents, query)

    with pytest.raises(ConfigurationError, match=f"FailoverReranker: {message}"):
        await rank()

    assert [target.failures for target in reranker.router.status().targets] == [0, 0]
