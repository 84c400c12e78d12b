"""Sends beyond one per target and call are earned by answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tenacity import wait_none

from failover_core import AllTargetsFailedError, Router
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, status

RETRIES = {"attempts": 2, "wait": wait_none()}


def test_an_outage_adds_the_saved_retries_and_then_a_fifth_of_the_answers(
    door: Door, pool: Callable[..., Router]
) -> None:
    dead = ScriptedClient("a", default=REFUSED)
    router = pool(dead, policy={"retry": RETRIES})
    for _ in range(50):
        with pytest.raises(AllTargetsFailedError):
            door(router, ask)
    assert len(dead.calls) == 50 + 10
    dead._default = "answer"
    for _ in range(50):
        door(router, ask)
    dead.calls.clear()
    dead._default = REFUSED
    for _ in range(50):
        with pytest.raises(AllTargetsFailedError):
            door(router, ask)
    assert len(dead.calls) == 50 + 10


def test_ten_answers_earn_two_retries(pool: Callable[..., Router]) -> None:
    client = ScriptedClient("a", default=REFUSED)
    router = pool(client, policy={"retry": RETRIES})
    for _ in range(15):
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    client._default = "answer"
    for _ in range(10):
        router.run(ask)
    client._default = REFUSED
    client.calls.clear()
    for _ in range(5):
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    assert len(client.calls) == 5 + 2


def test_moving_to_an_untried_target_costs_nothing(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(ScriptedClient("a", default=status(401)), "b", policy={"retry": RETRIES})
    for _ in range(100):
        fake_clock.advance(301)  # so that it is tried each time
        assert door(router, ask) == "b"


def test_without_a_budget_every_retry_is_sent(pool: Callable[..., Router]) -> None:
    dead = ScriptedClient("a", default=REFUSED)
    router = pool(dead, policy={"retry": {**RETRIES, "budget": None}})
    for _ in range(50):
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    assert len(dead.calls) == 100


def test_a_budget_of_zero_allows_no_retry(pool: Callable[..., Router]) -> None:
    dead = ScriptedClient("a", default=REFUSED)
    router = pool(dead, policy={"retry": {**RETRIES, "budget": 0}})
    with pytest.raises(AllTargetsFailedError):
        router.run(ask)
    assert len(dead.calls) == 1


def test_while_all_is_ejected_the_adaptive_throttle_refuses_most_calls(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    dead = ScriptedClient("a", default=REFUSED)
    router = pool(dead, policy={"adaptive_throttle": True})
    for _ in range(1_000):
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    assert 60 < len(dead.calls) < 180
    refused = 0
    for _ in range(50):
        with pytest.raises(AllTargetsFailedError) as caught:
            router.run(ask)
        refused += "the adaptive throttle held it back" in str(caught.value)
    assert refused > 30


def test_the_adaptive_throttle_opens_again_with_the_answers(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    client = ScriptedClient("a", default=REFUSED)
    router = pool(client, policy={"adaptive_throttle": True})
    for _ in range(300):
        fake_clock.advance(0.1)
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    client._default = "answer"
    answered = 0
    for _ in range(300):
        fake_clock.advance(0.1)
        try:
            answered += router.run(ask) == "answer"
        except AllTargetsFailedError:
            continue
    assert answered > 200


def test_the_adaptive_throttle_refuses_nothing_while_a_target_is_ready(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(ScriptedClient("a", default=REFUSED), "b", policy={"adaptive_throttle": True})
    assert [door(router, ask) for _ in range(100)] == ["b"] * 100


def test_without_it_every_call_is_sent_as_a_last_resort(pool: Callable[..., Router]) -> None:
    dead = ScriptedClient("a", default=REFUSED)
    router = pool(dead)
    for _ in range(100):
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    assert len(dead.calls) == 100
