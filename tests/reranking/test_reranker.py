"""Reranking over a pool: the same shape of answer whichever target gives it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

import pytest

from failover_core import ConfigurationError, ErrorClass, Router
from failover_core.reranking import RankedDocument, Ranking, Reranker
from failover_core.testing import ScriptedClient
from tests.engine.doors import REFUSED

Rank = Callable[..., Ranking]


def ranked(*pairs: tuple[int, float]) -> list[RankedDocument]:
    return [RankedDocument(*pair) for pair in pairs]


GOOD = ranked((0, 0.1), (1, 0.9), (2, 0.5))


@pytest.fixture(params=["sync", "async"])
def rank(request: pytest.FixtureRequest) -> Rank:
    """Rank three documents through the sync or the async door."""

    def through(router: Router, count: int = 3, **settings: Any) -> Ranking:
        reranker = Reranker(router.begin, **settings)
        if request.param == "sync":
            return reranker.rerank(count, lambda client: client.call())
        return asyncio.run(reranker.arerank(count, lambda client: client.acall()))

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
    ],
)
def test_a_bad_setting_is_named_with_its_remedy(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Reranker(Router([ScriptedClient("a")]).begin, **settings)
