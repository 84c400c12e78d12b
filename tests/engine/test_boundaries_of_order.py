"""Boundaries of the strategies: ties, the ends of chance, what copies know, what comes last."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from failover_core import Router, Sticky
from failover_core.engine.strategies import Strategy, strategy_for
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, named

SPREADING = ("random", "round_robin", "weighted", "least_loaded")


class Fixed:
    """Dice that always show one share of the range."""

    def __init__(self, share: float) -> None:
        self.share = share

    def uniform(self, a: float, b: float, /) -> float:
        return a + self.share * (b - a)


def built(name: str, dice: Any) -> Strategy:
    return strategy_for(name, dice)


def states(names: str, **costs: float) -> tuple[Any, ...]:
    """Return the states of some targets, whose answers take so long."""
    found = Router(named(*names))._pool.states
    for state in found:
        if state.target.name in costs:
            state.cost.observe(costs[str(state.target.name)], 0.0)
    return found


def names(order: Any) -> str:
    return "".join(state.target.name for state in order)


# Spreading


@pytest.mark.parametrize("name", SPREADING)
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_whatever_the_dice_show_every_target_has_one_place_in_the_order(
    name: str, share: float
) -> None:
    strategy, targets = built(name, Fixed(share)), states("abcde")
    for _ in range(6):
        assert sorted(names(strategy.order(targets, 0.0))) == [*"abcde"]
        assert sorted(set(names(strategy.order_again(targets, 0.0)))) == [*"abcde"]


@pytest.mark.parametrize("name", SPREADING)
def test_a_single_target_is_all_of_the_order(name: str) -> None:
    assert names(built(name, Fixed(1.0)).order(states("a"), 0.0)) == "a"


@pytest.mark.parametrize("name", SPREADING)
def test_who_comes_after_the_first_is_left_to_chance(name: str) -> None:
    strategy, targets = built(name, random.Random(3)), states("abcd")
    orders = {names(strategy.order(targets, 0.0)) for _ in range(500)}
    assert len(orders) == 24


@pytest.mark.parametrize(
    ("costs", "in_flight", "first"),
    [
        ({"a": 1.0, "b": 1.6}, (1, 0), "b"),
        ({"a": 1.0, "b": 2.5}, (1, 0), "a"),
        ({"a": 1.0, "b": 1.0}, (0, 0), "a"),
        ({"a": 3.0, "b": 1.0}, (0, 1), "b"),
        ({"a": 1.0}, (5, 0), "b"),
        ({"a": 1.0}, (58, 1), "a"),
        ({"a": 1.0}, (60, 1), "b"),
    ],
)
def test_the_less_loaded_of_two_is_the_one_whose_queue_ends_first(
    costs: dict[str, float], in_flight: tuple[int, int], first: str
) -> None:
    targets = states("ab", **costs)
    for state, number in zip(targets, in_flight, strict=True):
        state.in_flight = number
    assert names(built("least_loaded", Fixed(0.0)).order(targets, 0.0))[0] == first


def test_after_the_better_of_two_comes_the_better_of_two_others() -> None:
    targets = states("abcd", a=0.1, b=0.2, c=0.3, d=0.4)
    assert names(built("least_loaded", Fixed(0.0)).order(targets, 0.0)) == "acbd"


# Fastest


@pytest.mark.parametrize(("size", "call"), [(5, 2), (10, 2), (19, 2), (20, 3), (100, 11)])
def test_of_many_targets_a_new_speed_is_known_a_tenth_of_their_number_later(
    size: int, call: int
) -> None:
    targets = Router([str(number) for number in range(size)])._pool.states
    strategy = built("fastest", Fixed(0.0))
    assert next(iter(strategy.order(targets, 0.0))) is targets[0]
    for number, state in enumerate(targets):
        state.cost.observe(1_000.0 - number, 0.0)
    firsts = [next(iter(strategy.order(targets, 0.0))) for _ in range(call - 1)]
    assert firsts == [targets[0]] * (call - 2) + [targets[-1]]


@pytest.mark.parametrize(("share", "explored"), [(0.0, "b"), (0.5, "c"), (0.99, "d"), (1.0, "d")])
def test_every_twentieth_call_goes_to_any_target_but_the_fastest(
    share: float, explored: str
) -> None:
    targets = states("abcd", a=0.1, b=0.2, c=0.3, d=0.4)
    strategy = built("fastest", Fixed(share))
    firsts = [next(iter(strategy.order(targets, 0.0))).target.name for _ in range(40)]
    assert firsts == ["a"] * 19 + [explored] + ["a"] * 19 + [explored]


# Sticky


@pytest.mark.parametrize("copied", [False, True])
def test_a_sticky_pool_of_a_machine_that_has_just_started_stays_where_it_was_served(
    *, copied: bool
) -> None:
    strategy = Sticky(seconds=100, successes=3)
    if copied:
        old = Router([ScriptedClient("a", [REFUSED]), "b", "c"], strategy=strategy)
        old.run(lambda client: ask(client) if isinstance(client, ScriptedClient) else client)
        strategy = copy.copy(strategy)
    clock = FakeClock(now=0.5)
    clients = [ScriptedClient(name, default=name) for name in "abc"]
    clients[0] = ScriptedClient("a", [REFUSED], default="a")
    router = Router(clients, strategy=strategy, clock=clock)
    assert router.status().active == "a"
    assert [router.run(ask) for _ in range(4)] == ["b", "b", "b", "a"]
