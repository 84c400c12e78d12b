"""When a call is sent to a second target, and what becomes of the loser."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from failover_core import Router
from failover_core.engine.attempt import Attempt, GiveUp
from failover_core.engine.call import Call
from failover_core.testing import FakeClock
from tests.engine.doors import REFUSED, begin, status, trace


def take(router: Router, clock: FakeClock, seconds: float) -> None:
    call, attempt = begin(router)
    clock.advance(seconds)
    call.succeeded(attempt)


def second_of(call: Call, first: Attempt) -> Attempt:
    second = call.hedge(first)
    assert second is not None
    return second


def test_a_percentile_says_nothing_before_twenty_answers(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"hedge": {}})
    for _ in range(19):
        take(router, fake_clock, 0.1)
    assert begin(router)[1].hedge_after is None


def test_an_attempt_is_slow_after_the_percentile_of_the_newest_latencies(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"hedge": {"after": "p90"}})
    for number in range(320):
        take(router, fake_clock, 0.001 * (number % 100))
    assert begin(router)[1].hedge_after == pytest.approx(0.09, abs=0.01)


def test_an_attempt_is_slow_after_a_given_time(pool: Callable[..., Router]) -> None:
    assert begin(pool("a", "b", policy={"hedge": {"after": 0.3}}))[1].hedge_after == 0.3


def test_streams_and_answers_have_percentiles_of_their_own(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"hedge": {}})
    for _ in range(64):
        take(router, fake_clock, 5)
    call = router.begin()
    call.stream(resumable=False)
    attempt = call.next()
    assert isinstance(attempt, Attempt)
    assert attempt.hedge_after is None


def test_a_hedge_goes_to_another_target_and_is_told(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.3}})
    call, first = begin(router)
    fake_clock.advance(0.3)
    second = second_of(call, first)
    assert second.target.name == "b"
    call.succeeded(second)
    call.abandoned(first)
    assert trace(router) == ["hedged a->b"]
    assert call.report == {
        "target": "b",
        "model": None,
        "attempts": 2,
        "failed_over": True,
        "errors": [],
    }


def test_a_loser_is_no_failure_and_gives_its_permit_back(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.3, "budget": 1}})
    for _ in range(10):
        call, first = begin(router)
        second = second_of(call, first)
        call.succeeded(second)
        call.abandoned(first)
        call.abandoned(first)
    loser = router.status()["a"]
    assert (loser.failures, loser.in_flight, loser.state) == (0, 0, "closed")


def test_a_call_is_hedged_once(pool: Callable[..., Router]) -> None:
    call, first = begin(pool("a", "b", "c", policy={"hedge": {"after": 0.3}}))
    second_of(call, first)
    assert call.hedge(first) is None


def test_a_hedge_is_not_sent_to_an_ejected_target(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.3}})
    router.disable("a")
    call, attempt = begin(router)
    call.failed(attempt, status(401))
    router.enable("a")
    call, first = begin(router)
    assert call.hedge(first) is None


def test_hedges_keep_to_five_in_a_hundred_calls(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.3}})
    hedged = 0
    for _ in range(1_000):
        call, first = begin(router)
        hedged += call.hedge(first) is not None
        call.succeeded(first)
    assert 50 <= hedged <= 60


def test_a_hedge_needs_a_retry_saved_up_as_well(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.3}, "retry": {"budget": 0}})
    call, first = begin(router)
    assert call.hedge(first) is None


def test_when_one_of_two_fails_the_other_one_serves(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.3}})
    call, first = begin(router)
    second = second_of(call, first)
    call.failed(second, REFUSED)
    assert not call.is_over
    call.succeeded(first)
    assert call.report["target"] == "a"
    assert router.status().succeeded == 1


def test_when_both_fail_the_call_goes_on(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c", policy={"hedge": {"after": 0.3}})
    call, first = begin(router)
    call.failed(second_of(call, first), REFUSED)
    call.failed(first, REFUSED)
    third = call.next()
    assert isinstance(third, Attempt)
    assert third.target.name == "c"


def test_a_wrong_request_ends_the_call_at_once(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.3}})
    call, first = begin(router)
    second = second_of(call, first)
    wrong = status(400)
    call.failed(second, wrong)
    assert call.is_over
    call.abandoned(first)
    step = call.next()
    assert isinstance(step, GiveUp)
    assert step.error is wrong


def test_losers_keep_the_percentile_from_falling(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"hedge": {"budget": 1, "after": "p90"}})
    for _ in range(32):
        take(router, fake_clock, 0.1)
    delays = []
    for number in itertools.count():
        call, first = begin(router)
        if number == 200:
            break
        assert first.hedge_after is not None
        delays.append(first.hedge_after)
        if number % 5:
            fake_clock.advance(0.1)
        else:
            fake_clock.advance(first.hedge_after)
            if second := call.hedge(first):
                fake_clock.advance(0.01)
                call.succeeded(second)
                call.abandoned(first)
                continue
        call.succeeded(first)
    assert min(delays) >= 0.1
