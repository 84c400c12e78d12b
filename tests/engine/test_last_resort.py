"""What a call does when no target is a first choice: an order and a wait, never a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tenacity import wait_none

from failover_core import AllTargetsFailedError, Router
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, status


def throttled(seconds: int) -> Exception:
    return status(429, retry_after=str(seconds))


def test_ejected_targets_are_asked_in_the_order_of_their_return(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    asked: list[str] = []

    def behave(client: Any) -> Any:
        asked.append(client.name)
        return client.call()

    clients = [
        ScriptedClient("a", [status(401)]),  # for 300 s
        ScriptedClient("b", [REFUSED]),
        ScriptedClient("c", [REFUSED]),
    ]
    router = pool(*clients, policy={"breaker": {"consecutive_failures": 1}})
    with pytest.raises(AllTargetsFailedError):
        door(router, behave)
    cooling = {target.name: target.cooldown_remaining for target in router.status().targets}
    asked.clear()
    for client in clients:
        client._script.append(REFUSED)
    with pytest.raises(AllTargetsFailedError):
        door(router, behave)
    assert asked == sorted(cooling, key=cooling.__getitem__)
    assert asked[-1] == "a"


def test_an_ejected_target_comes_before_one_that_asked_to_be_left_alone(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(
        ScriptedClient("a", [throttled(2)], default="a"),
        ScriptedClient("b", [status(401)], default="b"),
    )
    with pytest.raises(AllTargetsFailedError):
        door(router, ask)
    assert door(router, ask) == "b"
    assert not fake_clock.sleeps


def test_the_throttled_target_that_is_free_first_is_waited_for(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(
        ScriptedClient("a", [throttled(7)], default="a"),
        ScriptedClient("b", [throttled(3)], default="b"),
    )
    with pytest.raises(AllTargetsFailedError):
        door(router, ask)
    assert door(router, ask) == "b"
    assert len(fake_clock.sleeps) == 1
    assert 3 <= fake_clock.sleeps[0] <= 3.3


def test_a_wait_longer_than_allowed_is_not_begun_and_the_target_is_asked_at_once(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(
        ScriptedClient("a", [throttled(60)], default="a"), policy={"retry": {"max_wait": 5}}
    )
    with pytest.raises(AllTargetsFailedError):
        door(router, ask)
    assert door(router, ask) == "a"
    assert not fake_clock.sleeps


def test_all_waits_of_a_call_together_keep_to_the_longest(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    policy = {"retry": {"max_wait": 5, "attempts": 9, "wait": wait_none()}}
    router = pool(ScriptedClient("a", default=throttled(2)), policy=policy)
    with pytest.raises(AllTargetsFailedError):
        door(router, ask)
    assert len(fake_clock.sleeps) == 2
    assert 4 <= sum(fake_clock.sleeps) <= 5
    assert router.status()["a"].requests == 3


def test_backoffs_are_drawn_up_to_a_bound_that_doubles(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(ScriptedClient("a", default=REFUSED), policy={"retry": {"attempts": 8}})
    with pytest.raises(AllTargetsFailedError):
        door(router, ask)
    assert len(fake_clock.sleeps) == 7
    bounds = [0.05 * 2**number for number in range(7)]
    assert all(0 < wait <= top for wait, top in zip(fake_clock.sleeps, bounds, strict=True))


def test_a_target_that_asks_for_more_time_than_the_call_has_is_not_asked_again(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    client = ScriptedClient("a", [throttled(100)], default="a")
    policy = {"total_timeout": 10, "retry": {"attempts": 3, "wait": wait_none()}}
    with pytest.raises(AllTargetsFailedError):
        door(pool(client, policy=policy), ask)
    assert len(client.calls) == 1
    assert not fake_clock.sleeps
