"""The return of a target: two probes, then a growing share of its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from failover_core import Router
from failover_core.testing import FakeClock
from tests.engine.doors import Door, ask, fail_first

PASSED = 5.1


def returned(router: Router, clock: FakeClock) -> None:
    """Let the first target fail, cool down and answer its two probes."""
    fail_first(router, 5)
    clock.advance(PASSED)
    assert [router.run(ask), router.run(ask)] == ["a", "a"]


def shares(router: Router, calls: int = 400) -> float:
    return Counter(router.run(ask) for _ in range(calls))["a"] / calls


def test_a_returned_target_gets_a_growing_share_of_its_calls(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b")
    returned(router, fake_clock)
    assert 0.05 < shares(router) < 0.16
    fake_clock.advance(15)
    assert 0.42 < shares(router) < 0.58
    fake_clock.advance(10)
    assert 0.75 < shares(router) < 0.92
    fake_clock.advance(6)
    assert shares(router) == 1


def test_without_a_slow_start_it_gets_them_all_at_once(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"breaker": {"slow_start": 0}})
    returned(router, fake_clock)
    assert [door(router, ask) for _ in range(50)] == ["a"] * 50


def test_a_returned_target_serves_whatever_no_other_one_can(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b")
    returned(router, fake_clock)
    router.disable("b")
    assert [door(router, ask) for _ in range(30)] == ["a"] * 30


def test_a_target_that_fails_again_while_it_returns_goes_for_longer(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a")
    returned(router, fake_clock)
    fail_first(router, 5)
    assert 5 <= router.status()["a"].cooldown_remaining <= 10


def test_a_target_that_was_never_ejected_gets_all_calls_at_once(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool("a", "b")
    assert [door(router, ask) for _ in range(30)] == ["a"] * 30


def test_a_reset_ends_a_slow_start(pool: Callable[..., Router], fake_clock: FakeClock) -> None:
    router = pool("a", "b")
    returned(router, fake_clock)
    router.reset()
    assert shares(router, 50) == 1


def test_a_call_that_a_returning_target_was_spared_has_failed_over(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b")
    returned(router, fake_clock)
    before = router.status().failed_over
    others = sum(router.run(ask) == "b" for _ in range(20))
    assert router.status().failed_over - before == others > 0
