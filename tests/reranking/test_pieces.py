"""More documents than a target takes at once: ranked in pieces, as if they had been one."""

from __future__ import annotations

import asyncio
import random
import threading
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from failover_core import (
    AllTargetsFailedError,
    ConfigurationError,
    ResponseStatusError,
    Router,
    Target,
)
from failover_core.clients.descriptions import RequestLimits
from failover_core.engine.usage import charge
from failover_core.reranking import (
    Calibration,
    Groups,
    RankedDocument,
    Ranking,
    Reranker,
    by_order,
)

TOO_LARGE = ResponseStatusError("too large", status_code=413)
Rank = Callable[..., Ranking]


class Model:
    """A server of a model; scores are few, so that documents have equal ones."""

    requests_at_once = 2

    def __init__(
        self,
        name: str,
        model: str = "m",
        *,
        takes: int | None = None,
        limits: RequestLimits | None = None,
        fails: Callable[[Sequence[str]], BaseException | None] = lambda _: None,
    ) -> None:
        self.name = name
        self.model: str | None = model
        self.rerank_limits = limits or RequestLimits()
        self.fails = fails
        self.takes = takes
        self.asked: list[list[str]] = []

    def rerank(
        self, query: str, documents: Sequence[str], top_n: int | None = None
    ) -> list[RankedDocument]:
        self.asked.append(list(documents))
        if error := self.fails(documents):
            raise error
        if self.takes and len(documents) > self.takes:
            raise TOO_LARGE
        charge(len(documents))
        scores = [zlib.crc32(f"{self.model} {text}".encode()) % 50 / 10 - 2 for text in documents]
        order = sorted(range(len(documents)), key=lambda place: (-scores[place], place))
        return [RankedDocument(place, scores[place]) for place in order[:top_n]]

    async def arerank(
        self, query: str, documents: Sequence[str], top_n: int | None = None
    ) -> list[RankedDocument]:
        await asyncio.sleep(0)
        return self.rerank(query, documents, top_n)


class Sorter:
    """An object that gives an order and no scores."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def rerank(self, query: str, documents: Sequence[str], top_n: int | None) -> Any:
        self.asked.append(list(documents))
        order = sorted(range(len(documents)), key=lambda place: documents[place], reverse=True)
        return by_order(order[:top_n])


@dataclass(frozen=True)
class Texts:
    """A request to rank texts."""

    texts: Sequence[str]
    top_n: int | None = None
    query: str = "q"

    def __len__(self) -> int:
        return len(self.texts)

    def ask(self, client: Any, piece: range) -> Any:
        texts = self.texts[piece.start : piece.stop]
        return client.rerank(self.query, texts, self.top_n)

    async def aask(self, client: Any, piece: range) -> Any:
        if not hasattr(client, "arerank"):
            return self.ask(client, piece)
        texts = self.texts[piece.start : piece.stop]
        return await client.arerank(self.query, texts, self.top_n)


@pytest.fixture(params=["sync", "async"])
def rank(request: pytest.FixtureRequest) -> Rank:
    """Rank texts through the sync or the async door."""

    def through(
        router: Router,
        texts: Sequence[str],
        groups: Groups | None = None,
        *,
        batch_size: int | None = None,
        top_n: int | None = None,
        **settings: Any,
    ) -> Ranking:
        groups = groups or Groups(router.targets, batch_size=batch_size)
        reranker = Reranker(router.begin, groups, top_n=top_n, **settings)
        wanted = Texts(texts, top_n)
        if request.param == "sync":
            return reranker.rerank(wanted)
        return asyncio.run(reranker.arerank(wanted))

    return through


def texts_of(count: int) -> list[str]:
    return [f"text {number}" for number in range(count)]


def shape(ranking: Ranking) -> list[tuple[int, float]]:
    return [(one.index, one.score) for one in ranking.ranked]


def sizes(*models: Model | Sorter) -> list[int]:
    return [len(texts) for model in models for texts in model.asked]


TEXTS = texts_of(20)


class Wavering(Sorter):
    """An object that gives scores at first, and then no more."""

    def rerank(self, query: str, documents: Sequence[str], top_n: int | None) -> Any:
        answer = super().rerank(query, documents, top_n)
        is_first = len(self.asked) == 1
        return [RankedDocument(one.index, one.score, is_scored=is_first) for one in answer]


@pytest.mark.parametrize("places", [1, 3])
def test_a_piece_without_scores_makes_the_whole_be_ranked_in_one(places: int, rank: Rank) -> None:
    wavering = Wavering()
    wavering.requests_at_once = places  # type: ignore[attr-defined]

    ranking = rank(Router([wavering]), TEXTS, batch_size=4, score_threshold=0.9)

    best_first = sorted(range(20), key=lambda place: TEXTS[place], reverse=True)
    assert [one.index for one in ranking.ranked] == best_first
    assert not ranking.report["scored"]
    assert len(wavering.asked[-1]) == 20


def test_what_has_a_router_of_its_own_may_be_of_several_models_and_gets_the_whole(
    rank: Rank,
) -> None:
    pool = Model("pool")
    pool.router = Router([Model("a", "x"), Model("b", "y")])  # type: ignore[attr-defined]
    rank(Router([pool]), TEXTS, batch_size=4)
    assert sizes(pool) == [20]


@pytest.mark.parametrize("seed", range(40))
def test_any_split_gives_the_ranking_of_the_whole(seed: int, rank: Rank) -> None:
    dice = random.Random(seed)
    texts = texts_of(dice.randrange(1, 120))
    top_n = dice.choice([None, 1, dice.randrange(1, 130)])
    threshold = dice.choice([None, dice.uniform(-2, 3)])
    settings: dict[str, Any] = {"top_n": top_n, "score_threshold": threshold}
    whole = rank(Router([Model("a")]), texts, **settings)

    servers = [
        Model(
            f"s{number}",
            takes=dice.choice([None, dice.randrange(1, 40)]),
            limits=RequestLimits(
                items=dice.choice([None, dice.randrange(1, 50)]),
                bytes=dice.choice([None, dice.randrange(5, 400)]),
            ),
        )
        for number in range(dice.randrange(1, 4))
    ]
    size = dice.choice([None, dice.randrange(1, 60)])
    split = rank(Router(servers), texts, batch_size=size, spread=dice.random() < 0.5, **settings)

    assert shape(split) == shape(whole), f"seed {seed}"


@pytest.mark.parametrize("seed", range(20))
def test_whatever_fails_the_ranking_is_the_whole_of_one_model(seed: int, rank: Rank) -> None:
    dice = random.Random(seed)
    texts = texts_of(60)
    sound = {model: shape(rank(Router([Model("a", model)]), texts)) for model in "mn"}

    def now_and_then(_: Sequence[str]) -> BaseException | None:
        return ConnectionError() if dice.random() < 0.4 else None

    servers = [Model(f"{model}{n}", model, fails=now_and_then) for model in "mn" for n in (1, 2)]
    ranking = rank(Router([*servers, Model("last", "n")]), texts, batch_size=9)

    model = ranking.report["model"]
    assert shape(ranking) == sound[model], f"seed {seed}"
    named = {server.name for server in servers if server.model == model} | {"last"}
    assert set(ranking.targets.values()) <= named, f"seed {seed}"


def test_pieces_go_to_all_targets_of_the_model_and_each_document_says_which(rank: Rank) -> None:
    barrier = threading.Barrier(2, timeout=10)
    same, other = (Model("a"), Model("b")), Model("c", "other")

    def meet(_: Sequence[str]) -> None:
        if len(same[0].asked) + len(same[1].asked) > 1 and not barrier.broken:
            barrier.wait()
            barrier.abort()

    ranking = rank(Router([*same, other]), TEXTS, batch_size=4)

    assert not other.asked
    assert sorted(sizes(*same)) == [4] * 5
    for model in same:
        for text in (text for piece in model.asked for text in piece):
            document = RankedDocument(TEXTS.index(text), 0.0)
            assert ranking.report_on(document)["target"] == model.name
    assert ranking.report["attempts"] == 5


def test_without_spread_the_strategy_decides(rank: Rank) -> None:
    first, second = Model("a"), Model("b")

    ranking = rank(Router([first, second]), TEXTS, batch_size=4, spread=False)

    assert (len(first.asked), len(second.asked)) == (5, 0)
    assert ranking.report["failed_over"] is False


def test_each_target_is_sent_as_much_as_it_takes(rank: Rank) -> None:
    large, small = Model("a", "large"), Model("b", "small", limits=RequestLimits(items=7))
    large.fails = lambda _: ConnectionError()

    rank(Router([large, small]), TEXTS)

    assert sizes(large) == [20]
    assert sorted(sizes(small)) == [6, 7, 7]


def test_the_query_counts_with_each_document(rank: Rank) -> None:
    server = Model("a", limits=RequestLimits(bytes=39))
    rank(Router([server]), ["x" * 9] * 8)
    assert sizes(server) == [3, 3, 2]


def test_if_a_model_cannot_rank_a_piece_another_ranks_them_all(rank: Rank) -> None:
    def refuse_the_end(texts: Sequence[str]) -> BaseException | None:
        return ConnectionError() if "text 19" in texts else None

    broken = [Model(name, "m", fails=refuse_the_end) for name in "ab"]
    sound = Model("c", "other")
    router = Router([*broken, sound])

    ranking = rank(router, TEXTS, batch_size=5)

    assert shape(ranking) == shape(rank(Router([Model("d", "other")]), TEXTS))
    assert sorted(sizes(sound)) == [5] * 4
    assert set(ranking.targets.values()) == {"c"}
    assert (ranking.report["target"], ranking.report["model"]) == ("c", "other")
    assert ranking.report["failed_over"] is True
    assert {error["target"] for error in ranking.report["errors"]} == {"a", "b"}


def test_if_no_model_can_the_error_holds_what_all_of_them_said(rank: Rank) -> None:
    def refuse_the_end(texts: Sequence[str]) -> BaseException | None:
        return ConnectionError() if "text 19" in texts else None

    router = Router([Model(name, name, fails=refuse_the_end) for name in "abc"])

    with pytest.raises(AllTargetsFailedError) as raised:
        rank(router, TEXTS, batch_size=5)

    notes = [error.__notes__[0].split(",")[0] for error in raised.value.exceptions]
    assert notes == ["target 'a'", "target 'b'", "target 'c'"]
    assert raised.value.error_class == "connection"
    ranking = rank(router, TEXTS, batch_size=5, on_exhausted="passthrough")
    assert ranking.is_degraded
    assert ranking.report["target"] is None
    assert router.status().degraded == 1


def test_what_is_too_large_is_halved_and_remembered(rank: Rank) -> None:
    server = Model("a", takes=6)
    router = Router([server])
    groups = Groups(router.targets)

    ranking = rank(router, TEXTS, groups)

    assert shape(ranking) == shape(rank(Router([Model("b")]), TEXTS))
    assert sizes(server)[:3] == [20, 10, 5]
    server.asked.clear()
    rank(router, TEXTS, groups)
    assert sizes(server) == [5] * 4


def test_what_is_left_is_halved_with_the_piece_that_was_too_large(rank: Rank) -> None:
    def refuse_more_than_three_but_at_first(texts: Sequence[str]) -> BaseException | None:
        return TOO_LARGE if len(texts) > 3 and "text 0" not in texts else None

    server = Model("a", fails=refuse_more_than_three_but_at_first)

    ranking = rank(Router([server]), TEXTS, batch_size=8, spread=False)

    assert shape(ranking) == shape(rank(Router([Model("b")]), TEXTS))
    assert sizes(server) == [8, 8, 4, *[2] * 6]


def test_a_document_that_is_too_large_by_itself_is_no_lesson(rank: Rank) -> None:
    def refuse_one(texts: Sequence[str]) -> BaseException | None:
        return TOO_LARGE if "text 13" in texts else None

    server = Model("a", fails=refuse_one)
    router = Router([server, Model("b", "other")])
    groups = Groups(router.targets)

    with pytest.raises(ResponseStatusError) as raised:
        rank(router, TEXTS, groups, on_exhausted="passthrough")

    assert raised.value is TOO_LARGE
    server.asked.clear()
    server.fails = lambda _: None
    rank(router, TEXTS, groups)
    assert sizes(server) == [20]


def test_an_order_without_scores_is_asked_for_as_a_whole(rank: Rank) -> None:
    sorter = Sorter()
    router = Router([sorter])
    groups = Groups(router.targets, batch_size=8)

    ranking = rank(router, TEXTS, groups, score_threshold=0.5)
    rank(router, TEXTS, groups)

    assert [TEXTS[one.index] for one in ranking.ranked] == sorted(TEXTS, reverse=True)
    assert sizes(sorter) == [8, 20, 20]


def test_an_order_without_scores_is_not_normalised(rank: Rank) -> None:
    router = Router([Sorter()])
    ranking = rank(router, TEXTS, Groups(router.targets, normalize="sigmoid"), top_n=2)
    assert [one.score for one in ranking.ranked] == [1, 1 / 2]


def test_a_whole_that_cannot_be_split_and_is_too_large_is_the_callers_to_know(rank: Rank) -> None:
    class Small(Sorter):
        def rerank(self, query: str, documents: Sequence[str], top_n: int | None) -> Any:
            if len(documents) > 8:
                raise TOO_LARGE
            return super().rerank(query, documents, top_n)

    with pytest.raises(ResponseStatusError):
        rank(Router([Small()]), TEXTS, batch_size=8)


def test_targets_that_name_no_model_or_are_of_another_class_are_not_mixed(rank: Rank) -> None:
    class Likewise(Model):
        """Another protocol, whose scores may be on another scale."""

    nameless = Model("a"), Model("b")
    for model in nameless:
        model.model = None
    for pool in (nameless, (Model("a"), Likewise("b"))):
        ranking = rank(Router(pool), TEXTS, batch_size=4)
        assert sizes(pool[1]) == []
        assert set(ranking.targets.values()) == {"a"}


def test_a_client_that_ranks_fewer_documents_than_asked_has_failed(rank: Rank) -> None:
    class Forgetful(Model):
        def rerank(self, query: str, documents: Sequence[str], top_n: int | None = None) -> Any:
            return super().rerank(query, documents, top_n)[1:]

    router = Router([Forgetful("a"), Model("b")])

    ranking = rank(router, TEXTS, top_n=5)

    assert len(ranking.ranked) == 5
    assert ranking.report["errors"] == [{"target": "a", "error_class": "malformed"}]


def test_all_requests_share_the_time_of_one_call() -> None:
    begun: list[Any] = []
    router = Router([Model("a", takes=3)], policy={"total_timeout": 30})

    def begin(**options: Any) -> Any:
        begun.append(router.begin(**options))
        return begun[-1]

    Reranker(begin, Groups(router.targets)).rerank(Texts(TEXTS))

    assert len(begun) > 4
    assert len({call.deadline for call in begun}) == 1


def test_tokens_are_charged_to_the_target_that_ranked(rank: Rank) -> None:
    router = Router([Target(Model("a"), price=(1e6, 0.0)), Model("b", "other")])

    rank(router, TEXTS, batch_size=4)

    assert router.status()["a"].tokens == 20
    assert router.status().spend == 20


def test_scores_are_normalised_and_then_compared_with_the_threshold(rank: Rank) -> None:
    router = Router([Model("a")])
    raw = rank(router, TEXTS)

    groups = Groups(router.targets, normalize="sigmoid")
    found = rank(router, TEXTS, groups, score_threshold=0.5)

    assert shape(found) == [(i, Calibration()(score)) for i, score in shape(raw) if score >= 0]


def test_calibrations_keep_a_threshold_meaningful_across_a_switch(rank: Rank) -> None:
    class Tenfold(Model):
        def rerank(self, query: str, documents: Sequence[str], top_n: int | None = None) -> Any:
            ranked = super().rerank(query, documents, top_n)
            return [RankedDocument(one.index, 10 * one.score + 3) for one in ranked]

    router = Router([Tenfold("a"), Model("b"), Model("plain", "n")])
    calibrations = {"a": Calibration(0.1, -0.3), "plain": None}
    groups = Groups(router.targets, normalize="sigmoid", calibrations=calibrations)

    found = {}
    for name in ("a", "b", "plain"):
        router.switch(name)
        found[name] = rank(router, TEXTS, groups, score_threshold=0.5)

    assert [i for i, _ in shape(found["a"])] == [i for i, _ in shape(found["b"])]
    for one, two in zip(shape(found["a"]), shape(found["b"]), strict=True):
        assert one[1] == pytest.approx(two[1])
    assert max(score for _, score in shape(found["plain"])) > 1


def test_scores_that_round_to_the_same_keep_their_order(rank: Rank) -> None:
    class Sure(Model):
        def rerank(self, query: str, documents: Sequence[str], top_n: int | None = None) -> Any:
            return [RankedDocument(index, 50.0 + index) for index in range(len(documents))]

    router = Router([Sure("a")])
    found = rank(router, TEXTS, Groups(router.targets, normalize="sigmoid"))

    assert [index for index, _ in shape(found)] == list(reversed(range(20)))
    assert {score for _, score in shape(found)} == {1.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more, or None"),
        ({"normalize": "softmax"}, "normalize is 'softmax'; it must be 'sigmoid' or None"),
        ({"calibrations": {"x": None}}, "there is no target 'x'; known: a"),
        ({"calibrations": {"a": 1.0}}, "that of target 'a' is float; give a Calibration or None"),
    ],
)
def test_a_bad_setting_is_named_with_its_remedy(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Groups(Router([Model("a")]).targets, **settings)


async def test_a_cancelled_ranking_sends_nothing_further() -> None:
    class Slow(Model):
        async def arerank(
            self, query: str, documents: Sequence[str], top_n: int | None = None
        ) -> list[RankedDocument]:
            if self.asked:
                self.asked.append(list(documents))
                are_under_way.set()
                await asyncio.sleep(60)
            return self.rerank(query, documents, top_n)

    are_under_way = asyncio.Event()
    server = Slow("a")
    router = Router([server])
    reranker = Reranker(router.begin, Groups(router.targets, batch_size=2))
    task = asyncio.create_task(reranker.arerank(Texts(TEXTS)))
    await are_under_way.wait()
    await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(server.asked) == 3
    assert router.status()["a"].in_flight == 0
    assert router.status()["a"].failures == 0
