"""Rerankers of every shape as targets of a FailoverReranker."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_classic.retrievers.document_compressors.cross_encoder import BaseCrossEncoder
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from pydantic import ConfigDict

from failover_core.errors import AllTargetsFailedError, ErrorClass
from langchain_failover import FailoverReranker

QUERY = "the longest"
DOCUMENTS = [
    Document("x" * length, metadata={"tags": ["given"], "deep": {"list": [1]}}, id=str(length))
    for length in (3, 5, 1, 4, 2, 6)
]
BEST_FIRST = ["6", "5", "4", "3", "2", "1"]


class Broken(BaseDocumentCompressor):
    """Never answers."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        raise ConnectionError


class LikeCohere(BaseDocumentCompressor):
    """Keeps three, has no async of its own, refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")

    top_n: int | None = 3

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return by_length(documents)[: self.top_n]


class LikeVoyage(BaseDocumentCompressor):
    """Keeps all unless told otherwise, and is async where that is asked for."""

    top_k: int | None = None

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return by_length(documents)[: self.top_k]

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return by_length(documents)[: self.top_k]


class Deaf(BaseDocumentCompressor):
    """Takes no callbacks; LangChain's pipeline allows for such."""

    def compress_documents(  # type: ignore[override]
        self, documents: Sequence[Document], query: str
    ) -> Sequence[Document]:
        return by_length(documents)


class DeafInBoth(Deaf):
    """So it is with its own async method."""

    async def acompress_documents(  # type: ignore[override]
        self, documents: Sequence[Document], query: str
    ) -> Sequence[Document]:
        return by_length(documents)


class Scribbling(LikeCohere):
    """Writes into all that it is given, deep down too."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        for document in documents:
            document.metadata["tags"].append("scribbled")
            document.metadata["deep"]["list"].clear()
            document.id = None
        return by_length(documents)


class Lengths(BaseCrossEncoder):
    """A cross-encoder that scores by length."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len(text)) for _, text in text_pairs]


def by_length(documents: Sequence[Document]) -> list[Document]:
    scored = [
        Document(
            one.page_content, metadata={**one.metadata, "relevance_score": len(one.page_content)}
        )
        for one in documents
    ]
    return sorted(scored, key=lambda one: -one.metadata["relevance_score"])


CHILDREN: list[BaseDocumentCompressor] = [
    LikeCohere(),
    LikeVoyage(),
    LikeVoyage(top_k=2),
    Deaf(),
    DeafInBoth(),
    Scribbling(),
    CrossEncoderReranker(model=Lengths(), top_n=1),
    FailoverReranker(targets=[LikeCohere()]),
    FailoverReranker(targets=[LikeCohere()], top_n=1),
]


async def rank(reranker: BaseDocumentCompressor, *, is_async: bool) -> list[Document]:
    if is_async:
        return list(await reranker.acompress_documents(DOCUMENTS, QUERY))
    return list(reranker.compress_documents(DOCUMENTS, QUERY))


@pytest.mark.parametrize("child", CHILDREN, ids=lambda child: type(child).__name__)
@pytest.mark.parametrize("dead", [[], [Broken()]], ids=["healthy", "dead primary"])
@pytest.mark.parametrize("top_n", [None, 2, 4, 50])
async def test_every_kind_ranks_as_many_and_in_the_same_order(
    is_async: bool,  # noqa: FBT001
    child: BaseDocumentCompressor,
    dead: list[BaseDocumentCompressor],
    top_n: int | None,
) -> None:
    own = dict(child)
    before = [document.model_copy(deep=True) for document in DOCUMENTS]

    ranked = await rank(FailoverReranker(targets=[*dead, child], top_n=top_n), is_async=is_async)

    assert [document.id for document in ranked] == BEST_FIRST[:top_n]
    scores = [document.metadata["relevance_score"] for document in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(document.metadata["tags"] == ["given"] for document in ranked)
    assert before == DOCUMENTS
    assert dict(child) == own


async def test_async_stays_in_the_event_loop_where_the_child_can() -> None:
    threads = []

    class Native(LikeVoyage):
        async def acompress_documents(
            self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
        ) -> Sequence[Document]:
            threads.append(threading.get_ident())
            return documents

    await FailoverReranker(targets=[Native()]).acompress_documents(DOCUMENTS, QUERY)

    assert threads == [threading.get_ident()]


@pytest.mark.filterwarnings("ignore:.* is being sunset:DeprecationWarning")
async def test_a_filter_by_embeddings_may_stand_in_for_a_reranker(
    is_async: bool,  # noqa: FBT001
) -> None:
    from langchain_classic.retrievers.document_compressors import (  # noqa: PLC0415 - slow to import
        EmbeddingsFilter,
    )

    by_meaning = EmbeddingsFilter(embeddings=DeterministicFakeEmbedding(size=4), k=1)

    ranked = await rank(FailoverReranker(targets=[Broken(), by_meaning]), is_async=is_async)

    assert sorted(document.id or "" for document in ranked) == sorted(BEST_FIRST)


class Answering(BaseDocumentCompressor):
    """Answers with what it is told."""

    answer: Any

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Any:
        return self.answer(documents)


def foreign(documents: Sequence[Document]) -> list[Document]:
    return [Document("from elsewhere", metadata={"relevance_score": 1})]


def stale(documents: Sequence[Document]) -> list[Document]:
    """Return a document of another request, whose marks are of that one."""
    return [documents[0].model_copy(update={"page_content": "an older question's"})]


def shortened(documents: Sequence[Document]) -> list[Document]:
    return [one.model_copy(update={"page_content": one.page_content[:2]}) for one in documents]


def twice(documents: Sequence[Document]) -> list[Document]:
    return [documents[0], documents[0]]


def out_of_range(documents: Sequence[Document]) -> list[Document]:
    return [Document("x", metadata={"_failover_index": 99})]


def no_number(documents: Sequence[Document]) -> list[Document]:
    metadata = {**documents[0].metadata, "relevance_score": "high"}
    return [documents[0].model_copy(update={"metadata": metadata})]


def not_finite(documents: Sequence[Document]) -> list[Document]:
    metadata = {**documents[0].metadata, "relevance_score": float("nan")}
    return [documents[0].model_copy(update={"metadata": metadata})]


def nothing(documents: Sequence[Document]) -> None:
    return None


def texts(documents: Sequence[Document]) -> list[str]:
    return [document.page_content for document in documents]


MALFORMED = {
    foreign: "without the metadata they came with",
    stale: "changed the text of document 0",
    shortened: "changed the text .* DocumentCompressorPipeline",
    twice: "ranked a document twice",
    out_of_range: "without the metadata",
    no_number: "no number",
    not_finite: "not finite",
    nothing: "answered with NoneType",
    texts: "answered with list, not with a list of documents",
}


@pytest.mark.parametrize("answer", MALFORMED, ids=lambda one: one.__name__)
async def test_an_answer_that_is_no_ranking_goes_to_the_next_target(
    is_async: bool,  # noqa: FBT001
    answer: Any,
) -> None:
    bad = Answering(answer=answer)
    saved = FailoverReranker(targets=[bad, LikeCohere()])
    lost = FailoverReranker(targets=[bad])

    assert [one.id for one in await rank(saved, is_async=is_async)] == BEST_FIRST
    with pytest.raises(AllTargetsFailedError) as caught:
        await rank(lost, is_async=is_async)

    assert caught.value.error_class == ErrorClass.MALFORMED
    with pytest.raises(Exception, match=MALFORMED[answer]):
        raise caught.value.exceptions[0]
