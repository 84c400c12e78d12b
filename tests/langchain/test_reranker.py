"""FailoverReranker: the same shape of answer, whichever target gives it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from failover_core.errors import AllTargetsFailedError
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverReranker, Target

Servers = tuple[FaultServer, FaultServer]
DOCUMENTS = [
    Document("The kettle is on the stove.", metadata={"source": 1}, id="1"),
    Document("Ships dock in the harbour.", metadata={"source": 2, "relevance_score": 9}, id="2"),
    Document("A harbour seal eats fish.", metadata={"source": 3}, id="3"),
]
QUERY = "Where do ships dock?"


class Scoring(BaseDocumentCompressor):
    """Scores documents by their length, keeps few, and writes into what it is given."""

    top_n: int = 1
    key: str = "relevance_score"
    error: Any = None

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        if self.error:
            raise self.error
        for document in documents:
            document.metadata[self.key] = float(len(document.page_content))
        ranked = sorted(documents, key=lambda one: -one.metadata[self.key])[: self.top_n]
        return [Document(one.page_content, metadata=one.metadata) for one in ranked]


async def rerank(reranker: FailoverReranker, *, is_async: bool = False) -> list[Document]:
    if is_async:
        return list(await reranker.acompress_documents(DOCUMENTS, QUERY))
    return list(reranker.compress_documents(DOCUMENTS, QUERY))


FAULTS = [faults.Refuse(), faults.Status(500), faults.IndexOutOfRange(), faults.NotFinite()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name())
@pytest.mark.parametrize("is_async", [False, True])
async def test_the_next_server_ranks_when_one_fails(
    fault: faults.Fault,
    is_async: bool,  # noqa: FBT001
    servers: Servers,
) -> None:
    reranker = FailoverReranker.from_urls([one.url for one in servers], model="m", top_n=2)
    servers[0].fault = fault

    ranked = await rerank(reranker, is_async=is_async)

    assert [document.id for document in ranked] == ["2", "3"]
    assert ranked[0].metadata["relevance_score"] > ranked[1].metadata["relevance_score"]
    assert ranked[0].metadata["source"] == 2
    for document in ranked:
        assert document.metadata["failover"]["target"] == reranker.router.targets[1].name


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_wrapped_reranker_ranks_as_many_as_a_server_would(is_async: bool) -> None:  # noqa: FBT001
    child = Scoring()
    everything = FailoverReranker(targets=[child])
    two = FailoverReranker(targets=[Scoring(error=OSError()), child], top_n=2)

    assert [one.id for one in await rerank(everything, is_async=is_async)] == ["1", "2", "3"]
    assert [one.id for one in await rerank(two, is_async=is_async)] == ["1", "2"]
    assert child.top_n == 1, "the user's object keeps its own setting"


async def test_scores_are_the_childs_and_nothing_of_ours_is_left_in_the_metadata() -> None:
    reranker = FailoverReranker(targets=[Target(Scoring(), name="local")], top_n=1)

    (first,) = await rerank(reranker)

    report = first.metadata.pop("failover")
    assert report["target"] == "local"
    assert first.metadata == {"source": 1, "relevance_score": 27.0}


async def test_a_reranker_without_scores_counts_by_its_order() -> None:
    ranked = await rerank(FailoverReranker(targets=[Scoring(key="mine")]))

    assert [one.metadata["relevance_score"] for one in ranked] == [1, 1 / 2, 1 / 3]
    assert "mine" not in ranked[0].metadata


def test_scores_of_an_earlier_reranker_do_not_pass_for_this_ones() -> None:
    before = {"a": 0.9, "bbb": 0.1, "cc": 0.5}
    scored = [Document(text, metadata={"relevance_score": one}) for text, one in before.items()]

    ranked = FailoverReranker(targets=[Scoring(key="mine")]).compress_documents(scored, QUERY)

    assert [one.page_content for one in ranked] == ["bbb", "cc", "a"]


async def test_the_documents_given_stay_as_they_are(servers: Servers) -> None:
    before = [document.model_copy(deep=True) for document in DOCUMENTS]

    await rerank(FailoverReranker(targets=[Scoring(error=OSError()), Scoring()]))
    await rerank(FailoverReranker(targets=[servers[0].url], model="m"))

    assert before == DOCUMENTS


async def test_the_threshold_holds_for_every_kind_of_target(servers: Servers) -> None:
    served = FailoverReranker(targets=[servers[0].url], model="m", score_threshold=0.5)
    wrapped = FailoverReranker(targets=[Scoring()], score_threshold=26.5)

    assert [one.id for one in await rerank(served)] == ["2"]
    assert [one.id for one in await rerank(wrapped)] == ["1"]


def test_no_document_asks_nobody() -> None:
    reranker = FailoverReranker(targets=[Scoring(error=OSError())])

    assert reranker.compress_documents([], QUERY) == []


class Forgetful(Scoring):
    """Returns documents without the metadata they came with."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return [Document(one.page_content) for one in documents]


async def test_a_reranker_whose_documents_cannot_be_told_has_failed() -> None:
    with pytest.raises(AllTargetsFailedError) as caught:
        await rerank(FailoverReranker(targets=[Forgetful()]))

    assert caught.value.error_class == "malformed"


def test_callbacks_reach_a_wrapped_reranker() -> None:
    heard: list[Any] = []

    class Listening(Scoring):
        def compress_documents(
            self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
        ) -> Sequence[Document]:
            heard.append(callbacks)
            return documents

    FailoverReranker(targets=[Listening()]).compress_documents(DOCUMENTS, QUERY, callbacks=[])

    assert heard == [[]]
