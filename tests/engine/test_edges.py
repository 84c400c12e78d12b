"""Where one thing ends and the next begins: boundaries of windows, limits, waits and turns."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from tenacity import RetryCallState, wait_fixed
from tenacity.wait import wait_base

from failover_core import AllTargetsFailedError, Router, Sticky, Target
from failover_core.engine.limits import Daily, Rate
from failover_core.engine.throttle import AdaptiveThrottle
from failover_core.engine.window import Window
from failover_core.engine.workers import Workers
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, fail_first, status


class Fixed:
    """Dice that always show one share of the range, and note the ranges."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.ranges: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float, /) -> float:
        self.ranges.append((a, b))
        return a + self.share * (b - a)


# Windows


def test_a_window_forgets_a_bucket_at_a_time() -> None:
    window = Window(10.0)
    for second in range(10):
        window.add(second + 0.5)
    assert [window.total(now) for now in (9.9, 10.0, 10.9, 14.0, 18.9, 19.0)] == [10, 9, 9, 5, 1, 0]


def test_a_window_tells_when_so_much_will_be_forgotten() -> None:
    window = Window(10.0)
    window.add(0.5, 2)
    window.add(3.5, 3)
    window.add(9.5, 4)
    told = [window.less_at(9.9, amount) for amount in (1, 2, 3, 5, 6, 9, 10)]
    assert told == [10, 10, 13, 13, 19, 19, float("inf")]


def test_a_day_is_forgotten_by_the_hour() -> None:
    daily = Daily(2)
    daily.take(0.0, 1)
    daily.take(3_700.0, 1)
    assert daily.room_at(80_000.0, 1) == 86_400
    assert daily.room_at(80_000.0, 2) == 90_000
    assert daily.room_at(86_400.0, 1) == 86_400


def test_what_reaches_a_limit_exactly_passes() -> None:
    rate = Rate(60)
    rate.take(100.0, 59)
    assert rate.room_at(100.0, 1) <= 100.0 < rate.room_at(100.0, 2)
    daily = Daily(5)
    daily.take(100.0, 4)
    assert daily.room_at(100.0, 1) == 100.0 < daily.room_at(100.0, 2)


# The adaptive throttle


@pytest.mark.parametrize(
    ("sends", "answers", "share"),
    [(0, 0, 0.0), (1, 0, 1 / 2), (3, 0, 3 / 4), (9, 1, 7 / 10), (9, 4, 1 / 10), (9, 5, 0.0)],
)
def test_the_throttle_refuses_what_twice_the_answers_leave_over(
    sends: int, answers: int, share: float
) -> None:
    def refuses(shown: float) -> bool:
        throttle = AdaptiveThrottle()
        for _ in range(sends):
            throttle.sent(1.0)
        for _ in range(answers):
            throttle.answered(1.0)
        return throttle.refuses(1.0, Fixed(shown))

    assert not refuses(share)
    assert share == 0 or refuses(share - 0.001)


def test_the_throttle_lets_a_tenth_through_in_any_case() -> None:
    throttle = AdaptiveThrottle()
    for _ in range(10_000):
        throttle.sent(1.0)
    assert throttle.refuses(1.0, Fixed(0.899))
    assert not throttle.refuses(1.0, Fixed(0.9))


# Waits


class Told(wait_base):
    """A tenacity strategy that notes what it is told of an attempt."""

    def __init__(self) -> None:
        self.told: list[tuple[int, BaseException | None, Any, Any]] = []

    def __call__(self, retry_state: RetryCallState) -> float:
        outcome = retry_state.outcome
        assert outcome is not None
        self.told.append(
            (retry_state.attempt_number, outcome.exception(), retry_state.args, retry_state.kwargs)
        )
        return 4.0


def test_a_tenacity_strategy_is_told_the_attempt_and_its_error(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    wait = Told()
    router = pool(
        ScriptedClient("a", [REFUSED, REFUSED], default="a"),
        policy={"retry": {"attempts": 3, "wait": wait, "jitter": False}},
    )
    assert door(router, ask) == "a"
    assert wait.told == [(1, REFUSED, (), {}), (2, REFUSED, (), {})]
    assert fake_clock.sleeps == [4.0, 4.0]


def test_jitter_takes_any_part_of_the_backoff(fake_clock: FakeClock) -> None:
    dice = Fixed(0.25)
    router = Router(
        [ScriptedClient("a", [REFUSED], default="a")],
        policy={"retry": {"attempts": 2, "wait": wait_fixed(4)}},
        clock=fake_clock,
        dice=dice,
    )
    assert router.run(ask) == "a"
    assert fake_clock.sleeps == [1.0]
    assert (0.0, 4.0) in dice.ranges


def test_a_full_target_is_looked_at_again_after_half_to_one_and_a_half_of_the_mean(
    fake_clock: FakeClock,
) -> None:
    dice = Fixed(0.0)
    target = Target(ScriptedClient("a", default="a"), name="a", max_concurrency=2)
    router = Router([target], clock=fake_clock, dice=dice)
    for _ in range(2):
        call = router.begin()
        attempt: Any = call.next()
        fake_clock.advance(0.08)
        call.succeeded(attempt)
    for _ in range(2):
        router.begin().next()
    step: Any = router.begin().next()
    assert dice.ranges == [(0.5, 1.5)]
    assert step.seconds == pytest.approx(0.5 * 0.08 / 2)


@pytest.mark.parametrize(("total", "is_waited_for"), [(121, True), (119, False)])
def test_half_of_the_time_is_kept_for_targets_that_can_be_tried(
    pool: Callable[..., Router], fake_clock: FakeClock, total: float, *, is_waited_for: bool
) -> None:
    ejected = ScriptedClient("b", [status(401)], default="b")
    limited = Target(ScriptedClient("a", default="a"), name="a", requests_per_minute=1)
    router = pool(ejected, limited, policy={"total_timeout": total})
    assert router.run(ask) == "a"
    assert router.run(ask) == ("a" if is_waited_for else "b")


def test_a_retry_waits_for_room_with_all_of_its_time(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    only = Target(ScriptedClient("a", [REFUSED], default="a"), name="a", requests_per_minute=1)
    router = pool(only, policy={"retry": {"attempts": 2}, "total_timeout": 62})
    assert router.run(ask) == "a"


# Words


def test_an_error_names_all_that_a_target_lacks(pool: Callable[..., Router]) -> None:
    router = pool(Target("x", name="a", supports=[]))
    with pytest.raises(AllTargetsFailedError, match="a does not support images, tools"):
        router.run(ask, requires=["tools", "images"])


def test_an_error_says_that_a_window_is_too_small(pool: Callable[..., Router]) -> None:
    small = Target(ScriptedClient("a", default="a"), name="a", context_window=5)
    large = Target(ScriptedClient("b", default=REFUSED), name="b", context_window=10)
    with pytest.raises(AllTargetsFailedError, match="a has too small a context window"):
        pool(small, large).run(ask, tokens=10)


# Resets, probes


def test_a_reset_forgets_that_a_target_throttled(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    client = ScriptedClient("a", [status(429)] * 3, default="a")
    router = pool(client, "b", clock=FakeClock(now=0.5))
    router.run(ask)
    router.reset()
    assert router.status()["a"].cooldown_remaining == 0
    assert router.status()["a"].health == "unknown"
    router.run(ask)
    assert 0.5 <= router.status()["a"].cooldown_remaining <= 1


def test_a_probe_of_a_target_that_may_be_tried_anyway_is_no_news(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"probe": {"check": lambda _: None}})
    fail_first(router, 5)
    fake_clock.advance(router.status()["a"].cooldown_remaining)
    told = len(router.events)
    router.probe("a")
    router.probe("b")
    assert len(router.events) == told


# Turns


def test_sticky_begins_at_the_first_target_of_a_machine_that_has_just_started() -> None:
    clock = FakeClock(now=0.5)
    router = Router(["a", "b"], strategy="sticky", clock=clock)
    assert router.run(str) == "a"


def test_sticky_counts_the_answers_since_it_moved(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c", strategy=Sticky(seconds=0.5, successes=3))
    router.disable("a")
    router.disable("b")
    assert [router.run(ask) for _ in range(3)] == ["c"] * 3
    router.enable("a")
    router.enable("b")
    assert [router.run(ask) for _ in range(7)] == ["b"] * 3 + ["a"] * 4


def test_fastest_looks_at_every_other_target_in_turn_of_chance(fake_clock: FakeClock) -> None:
    asked: Counter[str] = Counter()

    def behave(name: str) -> str:
        asked[name] += 1
        fake_clock.advance(0.1 if name == "c" else 0.5)
        return name

    router = Router([*"abcde"], strategy="fastest", clock=fake_clock, dice=random.Random(5))
    for number in range(2_200):
        if number == 200:  # by now every target is known
            asked.clear()
        router.run(behave)
    assert all(10 <= asked[name] <= 40 for name in "abde")
    assert sum(asked[name] for name in "abde") < 110


# What nobody waits for any more


def test_what_an_abandoned_call_answers_is_handed_on_and_its_thread_no_longer_counted() -> None:
    workers, go_on, discarded = Workers(), threading.Event(), threading.Event()
    answers: list[str] = []

    def discard(answer: str) -> None:
        answers.append(answer)
        discarded.set()

    def work() -> str:
        go_on.wait(10)
        return "late"

    errand = workers.send(work, lambda *_: None)
    errand.abandon(discard)
    assert workers.abandoned == 1
    go_on.set()
    assert discarded.wait(10)
    assert answers == ["late"]


def test_what_had_ended_when_it_was_abandoned_is_handed_on_at_once() -> None:
    workers, ended = Workers(), threading.Event()
    answers: list[str] = []
    errand = workers.send(lambda: "early", lambda *_: ended.set())
    assert ended.wait(10)
    errand.abandon(answers.append)
    assert (answers, workers.abandoned) == (["early"], 0)


def test_a_failure_that_nobody_waits_for_is_handed_to_nobody() -> None:
    def work() -> str:
        raise REFUSED

    workers, ended = Workers(), threading.Event()
    answers: list[str] = []
    errand = workers.send(work, lambda *_: ended.set())
    assert ended.wait(10)
    errand.abandon(answers.append)
    assert (answers, workers.abandoned) == ([], 0)
