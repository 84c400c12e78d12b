"""FailoverReranker over servers: large sets, several models, and nobody left to rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document

from failover_core.errors import AllTargetsFailedError, ConfigurationError, ResponseStatusError
from failover_core.reranking import Calibration
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverReranker, Target

Servers = tuple[FaultServer, FaultServer]
Build = Callable[..., FailoverReranker]
QUERY = "which harbour has seven ships"
WORDS = ["ship", "harbour", "seven", "kettle", "moon", "bread", "which", "gull"]
DOCUMENTS = [
    Document(f"{WORDS[n % 8]} {WORDS[n % 7]} {WORDS[n % 5]}", id=str(n), metadata={"n": n})
    for n in range(40)
]


@pytest.fixture
def over() -> Iterator[Build]:
    """Make rerankers over servers, whose connections are closed after the test."""
    with ExitStack() as stack:

        def build(servers: Sequence[FaultServer], **options: Any) -> FailoverReranker:
            urls = [server.url for server in servers]
            reranker = FailoverReranker.from_urls(urls, **({"model": "m"} | options))
            stack.callback(reranker.router.close)
            return reranker

        yield build


async def rank(
    reranker: FailoverReranker, *, is_async: bool, documents: Sequence[Document] = DOCUMENTS
) -> list[Document]:
    if is_async:
        return list(await reranker.acompress_documents(documents, QUERY))
    return list(reranker.compress_documents(documents, QUERY))


def scores(documents: Sequence[Document]) -> Any:
    """Return the scores in order; a server's own rounding differs with what it ranks together."""
    return pytest.approx([one.metadata["relevance_score"] for one in documents], abs=1e-5)


@pytest.mark.parametrize("state", ["healthy", "dead primary"])
@pytest.mark.parametrize("top_n", [None, 7])
async def test_pieces_are_merged_into_the_ranking_of_the_whole(
    servers: Servers,
    over: Build,
    state: str,
    top_n: int | None,
    is_async: bool,  # noqa: FBT001
) -> None:
    whole = await rank(over(servers[1:]), is_async=is_async)
    if state == "dead primary":
        servers[0].stop()

    ranked = await rank(over(servers, batch_size=6, top_n=top_n), is_async=is_async)

    assert [one.metadata["relevance_score"] for one in ranked] == scores(whole[:top_n])
    alone = {one.id: one.metadata["relevance_score"] for one in whole}
    for one in ranked:
        assert one.metadata["relevance_score"] == pytest.approx(alone[one.id], abs=1e-5)
    assert {one.metadata["failover"]["model"] for one in ranked} == {"m"}


async def test_what_a_server_is_too_small_for_is_sent_in_pieces(
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    with FaultServer(provider="tei") as server:
        ranked = await rank(over([server], provider="tei"), is_async=is_async)
        sizes = [len(request.body["texts"]) for request in server.requests]

    assert len(ranked) == 40
    assert sorted(sizes) == [8, 32]


async def test_what_a_server_refuses_for_its_size_is_halved(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    servers[0].fault = faults.TooLarge(items=12)

    ranked = await rank(over(servers[:1]), is_async=is_async)

    assert len(ranked) == 40
    assert [len(one.body["documents"]) for one in servers[0].requests] == [40, 20, *[10] * 4]


async def test_documents_that_nobody_can_rank_pass_through_if_that_is_wished(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    for server in servers:
        server.stop()
    reranker = over(servers, on_exhausted="passthrough", top_n=3, score_threshold=0.99)
    given = [one.model_copy(deep=True) for one in DOCUMENTS]
    given[0].metadata["relevance_score"] = 0.25

    ranked = await rank(reranker, is_async=is_async, documents=given)

    assert [one.id for one in ranked] == ["0", "1", "2"]
    assert [one.metadata.get("relevance_score") for one in ranked] == [0.25, None, None]
    for one in ranked:
        report = one.metadata["failover"]
        assert (report["degraded"], report["target"], report["attempts"]) == (True, None, 2)
    assert "failover" not in given[0].metadata
    assert reranker.router.status().degraded == 1
    assert [event.kind for event in reranker.router.events][-2:] == ["exhausted", "degraded"]

    servers[1].start()
    relaxed = reranker.model_copy(update={"score_threshold": None})
    best, *_ = await rank(relaxed, is_async=is_async)
    assert best.metadata["failover"]["degraded"] is False


async def test_documents_that_nobody_can_rank_are_an_error_otherwise(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    for server in servers:
        server.stop()
    with pytest.raises(AllTargetsFailedError):
        await rank(over(servers), is_async=is_async)


async def test_a_wrong_request_is_never_passed_through(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    reranker = over(servers, on_exhausted="passthrough")
    with pytest.raises(ConfigurationError, match="not valid Unicode"):
        await rank(reranker, is_async=is_async, documents=[Document("fine"), Document("\ud800")])
    for server in servers:
        server.fault = faults.Status(422)
    with pytest.raises(ResponseStatusError):
        await rank(reranker, is_async=is_async)
    assert reranker.router.status().degraded == 0
    assert [target.failures for target in reranker.router.status().targets] == [0, 0]


async def test_another_model_ranks_everything_and_each_document_names_it(
    servers: Servers,
    is_async: bool,  # noqa: FBT001
) -> None:
    first = FailoverReranker.from_urls(servers[0].url, model="first").router.targets[0].client
    second = FailoverReranker.from_urls(servers[1].url, model="second").router.targets[0].client
    reranker = FailoverReranker(
        targets=[Target(first, name="a"), Target(second, name="b")], batch_size=10
    )
    before = await rank(reranker, is_async=is_async)
    assert {one.metadata["failover"]["model"] for one in before} == {"first"}
    servers[0].script([None, faults.Status(500), faults.Status(500), faults.Status(500)])

    ranked = await rank(reranker, is_async=is_async)

    alone = await rank(FailoverReranker(targets=[second]), is_async=is_async)
    assert [one.metadata["relevance_score"] for one in ranked] == scores(alone)
    for one in ranked:
        report = one.metadata["failover"]
        assert (report["model"], report["target"], report["failed_over"]) == ("second", "b", True)


async def test_tokens_that_servers_tell_of_are_charged(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    reranker = over(servers, batch_size=10)
    await rank(reranker, is_async=is_async)
    assert reranker.router.status().tokens == sum(len(d.page_content.split()) for d in DOCUMENTS)


class Sorting(BaseDocumentCompressor):
    """Sorts documents and gives no scores."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return sorted(documents, key=lambda one: -one.metadata["n"])


async def test_an_order_is_not_measured_against_the_threshold(is_async: bool) -> None:  # noqa: FBT001
    reranker = FailoverReranker(targets=[Sorting()], score_threshold=0.6, batch_size=3, top_n=4)

    ranked = await rank(reranker, is_async=is_async)

    assert [one.id for one in ranked] == ["39", "38", "37", "36"]
    assert ranked[0].metadata["failover"]["scored"] is False


class Logits(BaseDocumentCompressor):
    """Scores documents by logits."""

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        for document in documents:
            document.metadata["relevance_score"] = document.metadata["n"] - 30.0
        return documents


async def test_logits_become_probabilities(is_async: bool) -> None:  # noqa: FBT001
    for settings in (
        {"normalize": "sigmoid"},
        {"calibrations": {"local": Calibration()}},
        {"normalize": "sigmoid", "calibrations": {"local": Calibration(slope=2.0)}},
    ):
        reranker = FailoverReranker(
            targets=[Target(Logits(), name="local")], score_threshold=0.5, **settings
        )
        ranked = await rank(reranker, is_async=is_async)
        assert [one.id for one in ranked] == [str(n) for n in range(39, 29, -1)]
        assert ranked[-1].metadata["relevance_score"] == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"normalize": "softmax"}, "normalize"),
        ({"on_exhausted": "empty"}, "on_exhausted"),
        ({"calibrations": {"x": Calibration()}}, "no target 'x'"),
    ],
)
def test_a_bad_setting_is_refused_when_the_pool_is_built(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FailoverReranker(targets=[Sorting()], **settings)
