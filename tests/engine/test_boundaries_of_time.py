"""Boundaries of time, room and size: the last instant that counts, the last token that fits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tenacity import RetryCallState, wait_fixed
from tenacity.wait import wait_base

from failover_core import AllTargetsFailedError, AttemptTimeoutError, Router, Target
from failover_core.engine.attempt import GiveUp, Wait
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, begin, fail_first, status


class Fixed:
    """Dice that always show one share of the range."""

    def __init__(self, share: float) -> None:
        self.share = share

    def uniform(self, a: float, b: float, /) -> float:
        return a + self.share * (b - a)


def failing(name: str, *errors: Exception) -> ScriptedClient:
    """Return a client that fails so often before it answers with its name."""
    return ScriptedClient(name, errors, default=name)


# The time of an attempt


@pytest.mark.parametrize(
    ("names", "ejected", "share"),
    [
        ("a", "", 60),
        ("ab", "", 30),
        ("abc", "", 20),
        ("abcd", "", 15),
        ("abcdefgh", "", 15),
        ("abc", "c", 20),
        ("abcd", "cd", 20),
        ("abcdef", "cdef", 20),
        ("abcdef", "def", 15),
        ("abcdef", "bcdef", 30),
    ],
)
def test_time_is_shared_by_the_targets_that_are_left_the_ejected_counting_as_one(
    pool: Callable[..., Router], names: str, ejected: str, share: float
) -> None:
    router = pool(*names, policy={"total_timeout": 60})
    for name in ejected:
        call = router.begin(preferred_target=name)
        attempt: Any = call.next()
        call.failed(attempt, status(401))
    assert begin(router)[1].timeout == pytest.approx(share)


def test_what_was_tried_or_cannot_serve_has_no_share_of_the_time(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", Target("c", name="c", supports=[]), policy={"total_timeout": 60})
    call = router.begin(requires="tools")
    attempt: Any = call.next()
    assert attempt.timeout == 30
    fake_clock.advance(30)
    call.failed(attempt, REFUSED)
    second: Any = call.next()
    assert (second.target.name, second.timeout) == ("b", 30)


@pytest.mark.parametrize(("seconds", "is_over"), [(59.5, False), (60.0, True)])
def test_a_call_ends_in_the_instant_that_ends_its_time(
    pool: Callable[..., Router], fake_clock: FakeClock, seconds: float, *, is_over: bool
) -> None:
    call, attempt = begin(pool("a", "b", policy={"total_timeout": 60}))
    fake_clock.advance(seconds)
    call.failed(attempt, REFUSED)
    assert isinstance(call.next(), GiveUp) == is_over


@pytest.mark.parametrize(("cap", "failures"), [(20, 1), (60, 1), (None, 1)])
def test_a_target_that_had_its_equal_share_is_blamed_for_a_timeout(
    pool: Callable[..., Router], fake_clock: FakeClock, cap: float | None, failures: int
) -> None:
    router = pool("a", "b", "c", policy={"total_timeout": 60, "attempt_timeout": cap})
    call, attempt = begin(router)
    call.failed(attempt, AttemptTimeoutError("slow"))
    assert router.status()["a"].failures == failures


@pytest.mark.parametrize(("late", "failures"), [(4, 1), (12, 0)])
def test_nine_tenths_of_an_equal_share_are_enough_for_blame(
    pool: Callable[..., Router], fake_clock: FakeClock, late: float, failures: int
) -> None:
    router = pool("a", "b", policy={"total_timeout": 80})
    call = router.begin()
    fake_clock.advance(late * 2)
    attempt: Any = call.next()
    assert attempt.timeout == 40 - late
    call.failed(attempt, AttemptTimeoutError("slow"))
    assert router.status()["a"].failures == failures


@pytest.mark.parametrize(
    ("idle", "passed", "silence", "is_fair"),
    [(5, 10, 5, True), (20, 40, 20, True), (20, 41, 19, False), (None, 30, 30, False)],
)
def test_a_running_stream_may_be_silent_for_its_idle_timeout_or_what_is_left(
    pool: Callable[..., Router],
    fake_clock: FakeClock,
    idle: float | None,
    passed: float,
    silence: float,
    *,
    is_fair: bool,
) -> None:
    call, attempt = begin(pool("a", policy={"total_timeout": 60, "idle_timeout": idle}))
    call.commit(attempt)
    fake_clock.advance(passed)
    assert call.silence(attempt) == silence
    assert attempt.is_fair == is_fair


def test_a_stream_ends_in_the_instant_that_ends_its_time(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    call, attempt = begin(pool("a", policy={"attempt_timeout": 5}))
    fake_clock.advance(4.5)
    assert call.silence(attempt) == 0.5
    fake_clock.advance(0.5)
    with pytest.raises(AttemptTimeoutError):
        call.silence(attempt)


# Waits


class Attempts(wait_base):
    """A tenacity strategy that notes the number of the attempt that ended."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def __call__(self, retry_state: RetryCallState) -> float:
        assert retry_state.outcome is not None
        self.told.append(retry_state.outcome.attempt_number)
        return 0.0


def test_a_tenacity_strategy_may_ask_the_outcome_for_its_attempt(
    pool: Callable[..., Router],
) -> None:
    wait = Attempts()
    policy = {"retry": {"attempts": 3, "wait": wait}}
    assert pool(failing("a", REFUSED, REFUSED), policy=policy).run(ask) == "a"
    assert wait.told == [1, 2]


@pytest.mark.parametrize(("backoff", "sleeps"), [(49, [49.0]), (50, []), (100, [])])
def test_a_backoff_that_outlasts_the_call_is_not_begun(
    pool: Callable[..., Router], fake_clock: FakeClock, backoff: float, sleeps: list[float]
) -> None:
    retry = {"attempts": 2, "wait": wait_fixed(backoff), "jitter": False}
    router = pool(failing("a", REFUSED), policy={"total_timeout": 50, "retry": retry})
    if sleeps:
        assert router.run(ask) == "a"
    else:
        with pytest.raises(AllTargetsFailedError, match="every target failed"):
            router.run(ask)
    assert fake_clock.sleeps == sleeps


@pytest.mark.parametrize(("asked", "is_waited_for"), [("7", True), ("8", False)])
def test_a_wait_is_shorter_than_the_longest(
    pool: Callable[..., Router], fake_clock: FakeClock, asked: str, *, is_waited_for: bool
) -> None:
    throttled = failing("a", status(429, retry_after=asked))
    router = pool(throttled, policy={"retry": {"max_wait": 8}}, dice=Fixed(0.0))
    with pytest.raises(AllTargetsFailedError):
        router.run(ask)
    call = router.begin()
    assert isinstance(call.next(), Wait) == is_waited_for


@pytest.mark.parametrize("retry", [{}, {"attempts": 2}])
def test_a_call_waits_for_its_last_target_with_all_of_its_time(
    pool: Callable[..., Router], fake_clock: FakeClock, retry: dict[str, Any]
) -> None:
    throttled = failing("a", status(429, retry_after="40"))
    router = pool(throttled, policy={"total_timeout": 60, "retry": retry}, dice=Fixed(0.0))
    if not retry:
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    assert router.run(ask) == "a"
    assert sum(fake_clock.sleeps) == pytest.approx(40)


@pytest.mark.parametrize(("used", "waits"), [(39, True), (41, False)])
def test_the_time_that_a_call_has_used_is_not_part_of_the_half_that_it_may_wait(
    pool: Callable[..., Router], fake_clock: FakeClock, used: float, *, waits: bool
) -> None:
    limited = Target(failing("a"), name="a", requests_per_minute=1)
    router = pool(limited, failing("b", status(401)), policy={"total_timeout": 200})
    call = router.begin()
    fake_clock.advance(used)
    router.run(ask, preferred_target="b")  # which is refused, and served by a
    assert isinstance(call.next(), Wait) == waits


@pytest.mark.parametrize(("total", "served"), [(0.15, "b"), (0.5, "a")])
def test_half_of_the_time_is_kept_for_others_while_a_target_is_full(
    pool: Callable[..., Router], fake_clock: FakeClock, total: float, served: str
) -> None:
    full = Target(failing("a"), name="a", max_concurrency=1)
    router = pool(full, failing("b", status(401)), policy={"total_timeout": total}, dice=Fixed(0.5))
    call = router.begin(preferred_target="b")
    refused: Any = call.next()
    call.failed(refused, status(401))
    first: Any = call.next()
    fake_clock.advance(0.1)
    call.succeeded(first)
    call, first = begin(router)
    step = router.begin().next()
    if isinstance(step, Wait):
        call.succeeded(first)
        assert served == "a"
        assert step.seconds == pytest.approx(0.1)
    else:
        assert not isinstance(step, GiveUp)
        assert step.target.name == served


def test_a_retry_waits_until_its_tokens_have_room(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    slow = failing("a", AttemptTimeoutError("slow"))
    policy = {"retry": {"attempts": 2, "wait": wait_fixed(1)}, "total_timeout": 600}
    router = pool(Target(slow, name="a", tokens_per_minute=600, attempt_timeout=5), policy=policy)
    assert router.run(ask, tokens=600) == "a"
    assert sum(fake_clock.sleeps) == pytest.approx(60)


# Room


def test_a_target_keeps_to_its_own_limit_of_money_and_to_its_pools(
    pool: Callable[..., Router],
) -> None:
    dear = Target(failing("a"), name="a", price=(1e6, 0), spend_limit=1)
    other = Target(failing("b"), name="b", price=(1e6, 0))
    router = pool(dear, other, failing("free"), policy={"spend_limit": 3})
    served = [router.run(ask, tokens=1, usage=lambda _: (1, 0)) for _ in range(5)]
    assert served == ["a", "b", "b", "free", "free"]


def test_a_target_keeps_to_its_limits_of_a_minute_and_of_a_day(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    limited = Target(failing("a"), name="a", requests_per_minute=2, requests_per_day=3)
    router = pool(limited, "b")
    served = []
    for _ in range(3):
        served += [router.run(ask) for _ in range(3)]
        fake_clock.advance(60)
    assert "".join(served) == "aababbbbb"


def test_calls_of_an_unknown_size_take_no_tokens_before_they_answer(
    pool: Callable[..., Router],
) -> None:
    router = pool(Target(failing("a"), name="a", tokens_per_minute=1), "b")
    assert [router.run(ask, preferred_target=None) for _ in range(3)] == ["a"] * 3


@pytest.mark.parametrize(
    ("error", "served"),
    [
        (REFUSED, "a"),
        (status(500), "a"),
        (AttemptTimeoutError("slow"), "b"),
        (status(400), "b"),
        (KeyboardInterrupt(), "b"),
    ],
)
def test_tokens_stay_charged_if_nobody_knows_that_none_were_used(
    pool: Callable[..., Router], error: BaseException, served: str
) -> None:
    router = pool(Target(failing("a"), name="a", tokens_per_minute=100), "b")
    call = router.begin(tokens=100)
    attempt: Any = call.next()
    call.failed(attempt, error)
    assert router.run(ask, tokens=100) == served


def test_of_a_stream_that_tells_its_use_bit_by_bit_each_bit_is_charged(
    pool: Callable[..., Router],
) -> None:
    router = pool(Target(failing("a"), name="a", tokens_per_minute=100), "b")
    call = router.begin(tokens=50)
    attempt: Any = call.next()
    call.succeeded(attempt)
    for _ in range(10):
        call.used(0, 10)
    assert router.run(ask, tokens=1) == "b"


# Size


@pytest.mark.parametrize(("tokens", "served"), [(0, "a"), (9, "a"), (10, "a"), (11, "b")])
def test_a_call_goes_where_its_last_token_fits(
    pool: Callable[..., Router], tokens: int, served: str
) -> None:
    small = Target(failing("a"), name="a", context_window=10)
    large = Target(failing("b"), name="b", context_window=20)
    assert pool(small, large).run(ask, tokens=tokens) == served


@pytest.mark.parametrize(
    ("windows", "served"),
    [((5, 5, 6), "c"), ((5, 6, 7), "b"), ((5, None, 6), "c"), ((None, None, 1), "c")],
)
def test_what_was_too_large_moves_on_to_any_larger_window_that_is_declared(
    pool: Callable[..., Router], windows: tuple[int | None, ...], served: str
) -> None:
    clients = (failing("a", status(413)), failing("b"), failing("c"))
    targets = [
        Target(client, name=client.name, context_window=window)
        for client, window in zip(clients, windows, strict=True)
    ]
    assert pool(*targets).run(ask) == served


# Wishes


def test_a_calls_wish_for_the_target_of_a_manual_switch_is_both(
    pool: Callable[..., Router],
) -> None:
    router = pool("a", "b", "c")
    router.switch("b")
    assert router.run(ask, preferred_target="b") == "b"
    assert router.run(ask, preferred_target="c") == "c"
    assert router.run(ask) == "b"


def test_a_last_resort_is_not_one_that_asked_to_be_left_alone(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    clock = FakeClock(now=0.0)
    throttled = failing("a", status(429, retry_after="1"))
    router = Router([throttled, failing("b", status(401))], clock=clock, dice=Fixed(0.0))
    call = router.begin()
    for error in (status(429, retry_after="1"), status(401)):
        attempt: Any = call.next()
        call.failed(attempt, error)
    assert begin(router)[1].target.name == "b"


def test_failures_before_a_reset_are_forgotten(pool: Callable[..., Router]) -> None:
    router = pool("a", "b")
    fail_first(router, 4)
    router.reset()
    fail_first(router, 4)
    assert router.status()["a"].state == "closed"
