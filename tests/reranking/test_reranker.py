"""Reranking over a pool: the same shape of answer whichever target gives it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from failover_core import ConfigurationError, ErrorClass, ResponseStatusError, Router
from failover_core.reranking import Groups, RankedDocument, Ranking, Reranker, by_order
from failover_core.testing import ScriptedClient
from tests.engine.doors import REFUSED

Rank = Callable[..., Ranking]


def ranked(*pairs: tuple[int, float]) -> list[RankedDocument]:
    return [RankedDocument(*pair) for pair in pairs]


GOOD = ranked((0, 0.1), (1, 0.9), (2, 0.5))


@dataclass(frozen=True)
class Scripted:
    """A request whose answers are in the clients' scripts."""

    count: int
    query: str = ""
    texts: Sequence[str] = ()

    def __len__(self) -> int:
        return self.count

    def ask(self, client: Any, piece: range) -> Any:
        return client.call()

    async def aask(self, client: Any, piece: range) -> Any:
        return await client.acall()


@pytest.fixture(params=["sync", "async"])
def rank(request: pytest.FixtureRequest) -> Rank:
    """Rank three documents through the sync or the async door."""

    def through(router: Router, count: int = 3, **settings: Any) -> Ranking:
        reranker = Reranker(router.begin, Groups(router.targets), **settings)
        if request.param == "sync":
            return reranker.rerank(Scripted(count))
        return asyncio.run(reranker.arerank(Scripted(count)))

    return through


def indices(ranking: Ranking) -> list[int]:
    return [document.index for document in ranking.ranked]


def test_the_best_comes_first_whatever_order_the_server_sends(rank: Rank) -> None:
    ranking = rank(Router([ScriptedClient("a", [GOOD])]))
    assert indices(ranking) == [1, 2, 0]
    assert (ranking.report["target"], ranking.report["failed_over"]) == ("a", False)


def test_equal_scores_keep_their_order(rank: Rank) -> None:
    same = ranked((0, 0.5), (1, 0.5), (2, 0.5))
    assert indices(rank(Router([ScriptedClient("a", [same])]))) == [0, 1, 2]


def test_top_n_is_the_same_whichever_target_serves(rank: Rank) -> None:
    router = Router([ScriptedClient("a", [GOOD, REFUSED]), ScriptedClient("b", [GOOD])])
    assert indices(rank(router, top_n=2)) == indices(rank(router, top_n=2)) == [1, 2]
    assert indices(rank(Router([ScriptedClient("a", [GOOD])]), top_n=10)) == [1, 2, 0]


def test_the_threshold_is_applied_and_includes_its_own_value(rank: Rank) -> None:
    router = Router([ScriptedClient("a", default=GOOD)])
    assert indices(rank(router, score_threshold=0.5)) == [1, 2]
    assert indices(rank(router, score_threshold=0.0)) == [1, 2, 0]
    assert indices(rank(router, score_threshold=5.0)) == []
    assert indices(rank(router, score_threshold=0.2, top_n=1)) == [1]


def test_negative_scores_survive_without_a_threshold(rank: Rank) -> None:
    low = ranked((0, -9.0), (1, -3.0), (2, -5.0))
    assert indices(rank(Router([ScriptedClient("a", [low])]))) == [1, 2, 0]


def test_no_documents_need_no_request(rank: Rank) -> None:
    client = ScriptedClient("a")
    assert rank(Router([client]), count=0) == Ranking([], {})
    assert not client.calls


@pytest.mark.parametrize(
    "answer",
    [
        ranked((0, 0.1), (3, 0.9)),
        ranked((-1, 0.1)),
        ranked((0, 0.1), (0, 0.2)),
        ranked((0, math.nan)),
        ranked((0, math.inf)),
        ranked((1, -math.inf), (0, 1.0)),
    ],
    ids=repr,
)
def test_an_answer_that_cannot_be_right_fails_over(
    answer: list[RankedDocument], rank: Rank
) -> None:
    router = Router([ScriptedClient("a", [answer]), ScriptedClient("b", [GOOD])])
    ranking = rank(router)
    assert indices(ranking) == [1, 2, 0]
    assert ranking.report["errors"] == [{"target": "a", "error_class": ErrorClass.MALFORMED}]
    assert router.status()["a"].failures == 1


def test_an_answer_that_is_no_ranking_fails_over(rank: Rank) -> None:
    router = Router([ScriptedClient("a", [None]), ScriptedClient("b", [GOOD])])
    assert indices(rank(router)) == [1, 2, 0]


def test_an_order_without_scores_is_no_matter_for_a_threshold(rank: Rank) -> None:
    router = Router([ScriptedClient("a", default=by_order([2, 0, 1]))])
    ranking = rank(router, score_threshold=0.9)
    assert [(one.index, one.score) for one in ranking.ranked] == [(2, 1), (0, 1 / 2), (1, 1 / 3)]
    assert ranking.report["scored"] is False
    assert indices(rank(router, score_threshold=0.9, top_n=2)) == [2, 0]


def test_a_ranking_with_scores_says_so(rank: Rank) -> None:
    report = rank(Router([ScriptedClient("a", [GOOD])])).report
    assert (report["scored"], report["degraded"]) == (True, False)


def test_documents_that_nobody_ranked_pass_through_as_they_came(rank: Rank) -> None:
    router = Router([ScriptedClient(name, default=REFUSED) for name in "ab"], name="pool")
    settings = {"on_exhausted": "passthrough", "top_n": 2, "score_threshold": 0.99}

    ranking = rank(router, **settings)

    assert ranking.is_degraded
    assert indices(ranking) == [0, 1]
    told = {name: ranking.report[name] for name in ("target", "model", "failed_over", "scored")}
    assert told == {"target": None, "model": None, "failed_over": False, "scored": False}
    assert ranking.report["attempts"] == 2
    assert [error["target"] for error in ranking.report["errors"]] == ["a", "b"]
    last = list(router.events)[-1]
    assert last.kind == "degraded"
    assert str(last) == (
        "pool pool: degraded answer (no target could serve the call; a substitute was answered)"
    )
    assert (router.status().degraded, router.status().failed) == (1, 1)
    router.reset()
    assert router.status().degraded == 0


def test_what_a_target_says_of_the_request_is_raised_and_never_passed_through(rank: Rank) -> None:
    wrong = ResponseStatusError("no such field", status_code=422)
    for error in (wrong, ConfigurationError("text"), ResponseStatusError("big", status_code=413)):
        router = Router([ScriptedClient("a", default=error), ScriptedClient("b", default=GOOD)])
        with pytest.raises(type(error)) as raised:
            rank(router, count=1, on_exhausted="passthrough")
        assert raised.value is error
        assert router.status().degraded == 0


def test_the_answer_of_a_client_is_left_as_it_is(rank: Rank) -> None:
    answer = list(GOOD)
    rank(Router([ScriptedClient("a", [answer])]), top_n=1)
    assert answer == GOOD


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_n": 0}, "top_n is 0; it must be 1 or more, or None"),
        ({"top_n": -1}, "top_n is -1"),
        ({"score_threshold": math.nan}, "score_threshold is nan; it must be finite, or None"),
        ({"score_threshold": math.inf}, "score_threshold is inf"),
        ({"on_exhausted": "pass"}, "on_exhausted is 'pass'; it must be one of raise, passthrough"),
    ],
)
def test_a_bad_setting_is_named_with_its_remedy(settings: dict[str, Any], message: str) -> None:
    router = Router([ScriptedClient("a")])
    with pytest.raises(ConfigurationError, match=message):
        Reranker(router.begin, Groups(router.targets), **settings)
