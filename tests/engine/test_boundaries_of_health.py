"""Boundaries of ejection, return, warm-up and probes: which result counts, and from when on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tenacity import wait_fixed

from failover_core import Router, Strategy, Target
from failover_core.engine.breaker import Breaker
from failover_core.engine.call import Call
from failover_core.policy import BreakerPolicy
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, begin, fail_first, status

BREAKER: dict[str, Any] = {"consecutive_failures": 1, "successes_to_close": 1, "slow_start": 0}


class Fixed:
    """Dice that always show one share of the range, and count how often they were thrown."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.throws = 0

    def uniform(self, a: float, b: float, /) -> float:
        self.throws += 1
        return a + self.share * (b - a)


@pytest.fixture
def brittle(pool: Callable[..., Router]) -> Callable[..., Router]:
    """Build a router whose targets are ejected by one failure and return by one success."""
    return partial(pool, policy={"breaker": BREAKER}, dice=Fixed(1.0))


# Generations


def test_a_breakers_generation_never_comes_again() -> None:
    breaker = Breaker(BreakerPolicy(**BREAKER), Fixed(1.0), 0.0)
    seen, now = [breaker.generation], 0.0

    def note() -> None:
        seen.append(breaker.generation)

    for end in (breaker.success, breaker.release, breaker.failure, breaker.success):
        breaker.failure(breaker.generation, now)
        note()
        now = breaker.ready_at
        permit = breaker.admit(now, 1.0)
        note()
        end(permit, now)
        note()
        if end != breaker.success:
            now = breaker.ready_at
            breaker.success(breaker.admit(now, 1.0), now)
            note()
        breaker.reset(now)
        note()
    assert all(new >= old for old, new in itertools.pairwise(seen))
    assert len(set(seen)) >= 16


def test_only_the_success_that_closes_a_breaker_says_so() -> None:
    breaker = Breaker(BreakerPolicy(**BREAKER), Fixed(1.0), 0.0)
    assert not breaker.success(breaker.admit(0.0, 1.0), 0.0)
    breaker.failure(breaker.generation, 0.0)
    now = breaker.ready_at
    assert breaker.success(breaker.admit(now, 1.0), now)
    assert not breaker.success(breaker.admit(now, 1.0), now)


def test_a_late_answer_from_before_an_ejection_brings_nothing_back(
    brittle: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = brittle("a", "b")
    early, attempt = begin(router)
    fail_first(router, 1)
    fake_clock.advance(5)
    probe, probing = begin(router)
    early.succeeded(attempt)
    assert router.status()["a"].state == "half_open"
    probe.succeeded(probing)
    assert router.status()["a"].state == "closed"


def test_a_late_failure_of_a_last_resort_ejects_no_target_that_has_returned(
    brittle: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = brittle("a")
    fail_first(router, 1)
    last, resort = begin(router)
    fake_clock.advance(5)
    router.run(ask)
    last.failed(resort, REFUSED)
    assert router.status()["a"].state == "closed"


def test_a_late_failure_of_an_older_probe_ejects_no_target_that_has_returned(
    brittle: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = brittle("a", "b")
    fail_first(router, 1)
    fake_clock.advance(5)
    old, lost = begin(router)
    fake_clock.advance(60)
    router.run(ask)
    old.failed(lost, REFUSED)
    assert router.status()["a"].state == "closed"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), status(400)])
def test_a_call_that_says_nothing_of_its_target_leaves_those_beside_it_their_say(
    brittle: Callable[..., Router], error: BaseException
) -> None:
    router = brittle("a", "b")
    (call, attempt), (other, beside) = begin(router), begin(router)
    call.failed(attempt, error)
    other.failed(beside, REFUSED)
    assert router.status()["a"].state == "open"


def test_a_late_call_that_says_nothing_takes_no_probes_place(
    brittle: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = brittle("a", "b")
    early, attempt = begin(router)
    fail_first(router, 1)
    fake_clock.advance(5)
    begin(router)
    early.failed(attempt, KeyboardInterrupt())
    assert router.run(ask) == "b"


def test_a_success_ends_a_row_of_failures(pool: Callable[..., Router]) -> None:
    script = ([REFUSED] * 4 + ["a"] * 8) * 3
    router = pool(ScriptedClient("a", script), "b", policy={"breaker": {"failure_ratio": 1}})
    for _ in script:
        router.run(ask)
    assert router.status()["a"].failures == 12
    assert router.status()["a"].state == "closed"


def test_the_loser_of_a_hedge_that_was_a_probe_lets_the_next_call_probe(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"breaker": BREAKER, "hedge": {"after": 0.5}})
    fail_first(router, 1)
    fake_clock.advance(5)
    call, first = begin(router)
    second = call.hedge(first)
    assert second is not None
    fake_clock.advance(0.25)
    call.succeeded(second)
    call.abandoned(first)
    assert router.run(ask) == "a"
    assert router.status()["a"].state == "closed"


@pytest.mark.parametrize(
    ("before", "seconds", "cost"),
    [(None, 0.5, 0.5), (None, 3.0, 3.0), (2.0, 0.5, 2.0), (2.0, 3.0, 3.0)],
)
def test_the_loser_of_a_hedge_was_so_slow_at_least(
    pool: Callable[..., Router],
    fake_clock: FakeClock,
    before: float | None,
    seconds: float,
    cost: float,
) -> None:
    router = pool("a", "b", policy={"hedge": {"after": 0.5}})
    if before is not None:
        call, first = begin(router)
        fake_clock.advance(before)
        call.succeeded(first)
    call, first = begin(router)
    fake_clock.advance(seconds)
    call.abandoned(first)
    assert first.state.cost.value == pytest.approx(cost)


@pytest.mark.parametrize(("seconds", "cost"), [(0.1, 1.0), (7.0, 7.0)])
def test_a_failure_makes_a_target_look_a_second_slow_at_least(
    pool: Callable[..., Router], fake_clock: FakeClock, seconds: float, cost: float
) -> None:
    call, first = begin(pool("a"))
    fake_clock.advance(seconds)
    call.failed(first, REFUSED)
    assert first.state.cost.value == pytest.approx(cost)


# Cooldowns and slow starts


@pytest.mark.parametrize(("share", "cooldown"), [(0.0, 2.5), (0.5, 3.75), (1.0, 5.0)])
def test_half_of_a_cooldown_is_random(
    pool: Callable[..., Router], share: float, cooldown: float
) -> None:
    router = pool("a", "b", policy={"breaker": BREAKER}, dice=Fixed(share))
    fail_first(router, 1)
    assert router.status()["a"].cooldown_remaining == pytest.approx(cooldown)


def test_after_a_reset_a_target_is_ejected_as_before(brittle: Callable[..., Router]) -> None:
    router = brittle("a", "b")
    for _ in range(2):
        fail_first(router, 1)
        assert router.status()["a"].cooldown_remaining == pytest.approx(5)
        router.reset()


def test_a_success_between_two_throttlings_lets_the_cooldown_begin_anew(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    script = [status(429), status(429), "a", status(429)]
    router = pool(ScriptedClient("a", script), "b", dice=Fixed(1.0))
    seen = []
    for _ in script:
        router.run(ask)
        seen.append(router.status()["a"].cooldown_remaining)
        fake_clock.advance(10)
    assert seen == pytest.approx([1, 2, 0, 1])


@pytest.mark.parametrize("slow_start", [0.5, 30.0])
def test_a_returning_target_shares_its_calls_until_its_slow_start_is_over(
    pool: Callable[..., Router], fake_clock: FakeClock, slow_start: float
) -> None:
    dice = Fixed(0.0)
    policy = {"breaker": {**BREAKER, "slow_start": slow_start}}
    router = pool("a", "b", policy=policy, dice=dice)
    fail_first(router, 1)
    fake_clock.advance(5)
    router.run(ask)
    throws = []
    for seconds in (0.0, slow_start, 0.0):
        fake_clock.advance(seconds)
        before = dice.throws
        assert router.run(ask) == "a"
        throws.append(dice.throws - before)
    assert throws == [1, 1, 0]


@pytest.mark.parametrize(("share", "served"), [(0.0999, "a"), (0.1, "b")])
def test_a_target_gets_a_tenth_of_its_calls_when_it_returns(
    pool: Callable[..., Router], fake_clock: FakeClock, share: float, served: str
) -> None:
    policy = {"breaker": {**BREAKER, "slow_start": 30}}
    router = pool("a", "b", policy=policy, dice=Fixed(share))
    fail_first(router, 1)
    fake_clock.advance(5)
    router.run(ask)
    assert router.run(ask) == served


@pytest.mark.parametrize(("broken_again", "panics"), [("a", False), ("ab", False), ("abc", True)])
def test_targets_that_have_returned_count_as_in_service(
    pool: Callable[..., Router], fake_clock: FakeClock, broken_again: str, *, panics: bool
) -> None:
    broken = set("abc")

    def behave(client: Any) -> str:
        if client.name in broken:
            raise status(500)
        return str(client.name)

    def send(until: set[str]) -> None:
        while {name for name in "abcd" if router.status()[name].state == "closed"} != until:
            router.run(behave)

    router = pool(*"abcd", strategy="round_robin", policy={"breaker": BREAKER})
    send(set("d"))
    broken.clear()
    fake_clock.advance(300)
    send(set("abcd"))
    broken.update(broken_again)
    send(set("abcd") - broken)
    asked = router.status()["a"].requests
    for _ in range(8):
        router.run(behave)
    assert (router.status()["a"].requests > asked) == panics


def test_a_pool_that_was_reset_has_every_target_in_service(pool: Callable[..., Router]) -> None:
    def behave(client: Any) -> str:
        if client.name == "a":
            raise status(500)
        return str(client.name)

    router = pool(*"abc", strategy="round_robin", policy={"breaker": BREAKER})
    router.reset()
    for _ in range(12):
        router.run(behave)
    assert router.status()["a"].requests == 1


@pytest.mark.parametrize(
    ("clients_own", "targets", "of_policy", "lease"),
    [
        (None, None, None, 60),
        (None, None, 4, 5),
        (None, 8, 4, 9),
        (2, None, None, 3),
        (2, None, 4, 5),
    ],
)
def test_a_probe_is_lost_one_second_after_its_time_or_after_a_minute_without_one(
    pool: Callable[..., Router],
    fake_clock: FakeClock,
    clients_own: float | None,
    targets: float | None,
    of_policy: float | None,
    lease: float,
) -> None:
    client = ScriptedClient("a", default="a")
    if clients_own:
        client.default_attempt_timeout = clients_own  # type: ignore[attr-defined]
    policy = {"breaker": BREAKER, "attempt_timeout": of_policy}
    router = pool(Target(client, name="a", attempt_timeout=targets), "b", policy=policy)
    fail_first(router, 1)
    fake_clock.advance(5)
    begin(router)
    assert router.status()["a"].cooldown_remaining == lease


# Warm-up, active probes


@pytest.mark.parametrize(("seconds", "failures"), [(63.5, 0), (64.0, 1)])
def test_a_warm_up_is_over_when_its_time_is(
    pool: Callable[..., Router], fake_clock: FakeClock, seconds: float, failures: int
) -> None:
    router = pool(Target(ScriptedClient("a", default=REFUSED), name="a", warmup=64), "b")
    router.run(ask)
    fake_clock.advance(seconds)
    router.run(ask)
    assert router.status()["a"].requests == 2
    assert router.status()["a"].failures == failures


@pytest.mark.parametrize(("share", "rest"), [(0.0, 3.2), (1.0, 6.4)])
def test_a_target_that_warms_up_rests_for_up_to_a_tenth_of_its_time(
    pool: Callable[..., Router], share: float, rest: float
) -> None:
    target = Target(ScriptedClient("a", default=REFUSED), name="a", warmup=64)
    router = pool(target, "b", dice=Fixed(share))
    router.run(ask)
    assert router.status()["a"].cooldown_remaining == pytest.approx(rest)


def test_a_target_that_fails_without_warming_up_is_not_woken(pool: Callable[..., Router]) -> None:
    woken = threading.Event()

    def wake(_: Any) -> None:
        woken.set()

    target = Target(ScriptedClient("a", [status(500), REFUSED]), name="a", warmup=64, wake=wake)
    router = pool(target, "b")
    router.run(ask)
    assert not woken.wait(0.1)
    router.run(ask)
    assert woken.wait(10)


@pytest.mark.parametrize(
    ("error", "state", "cooldown"),
    [
        (status(500), "open", 5),
        (status(401), "open", 300),
        (status(429), "closed", 0),
        (status(400), "closed", 0),
    ],
)
def test_what_an_active_probe_finds_counts_as_that_of_a_call_but_for_throttling(
    pool: Callable[..., Router], error: Exception, state: str, cooldown: float
) -> None:
    def check(_: Any) -> None:
        raise error

    policy = {"breaker": BREAKER, "probe": {"check": check}}
    router = pool("a", "b", policy=policy, dice=Fixed(1.0))
    router.probe("a")
    router.close()
    found = router.status()["a"]
    assert str(found.state) == state
    assert found.cooldown_remaining == pytest.approx(cooldown)


def test_an_active_probe_that_fails_beside_a_calls_probe_changes_nothing(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    def check(_: Any) -> None:
        raise REFUSED

    policy = {"breaker": BREAKER, "probe": {"check": check}}
    router = pool("a", "b", policy=policy)
    fail_first(router, 1)
    fake_clock.advance(5)
    call, probe = begin(router)
    router.probe("a")
    router.close()
    assert router.status()["a"].state == "half_open"
    call.succeeded(probe)
    assert router.status()["a"].state == "closed"


# The first instants of a machine


def at_zero(*clients: Any, **settings: Any) -> Router:
    return Router(clients, **{"clock": FakeClock(now=0.0), "dice": Fixed(0.5), **settings})


def test_in_the_first_instant_every_target_is_a_first_choice() -> None:
    policy = {"total_timeout": 60, "retry": {"attempts": 2, "wait": wait_fixed(4)}}
    router = at_zero(ScriptedClient("a", [REFUSED], default="a"), policy=policy)
    assert router.run(ask) == "a"
    assert router._pool.clock.sleeps == [2.0]  # type: ignore[attr-defined]
    _, attempt = begin(at_zero(*"abc", policy=policy))
    assert attempt.timeout == 20


def test_half_a_second_later_too() -> None:
    router = at_zero(*"abc", policy={"total_timeout": 60}, clock=FakeClock(now=0.5))
    assert begin(router)[1].timeout == 20
    assert router.status().targets[0].cooldown_remaining == 0


def test_in_the_first_instant_a_pool_panics_as_ever() -> None:
    def behave(client: str) -> str:
        if client != "d":
            raise status(500)
        return client

    router = at_zero(*"abcd", strategy="round_robin", policy={"breaker": BREAKER}, dice=Fixed(0))
    for _ in range(8):
        router.run(behave)
    assert sum(target.requests for target in router.status().targets) > 8 + 3


# Copies of what a strategy knows


class Noting(Strategy):
    """The given order, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def order(self, targets: Any, now: float) -> Any:
        self.asked.append("order")
        return targets

    def order_again(self, targets: Any, now: float) -> Any:
        self.asked.append("order again")
        return targets

    def look(self, targets: Any, now: float) -> Any:
        return targets


def test_a_strategy_hears_whether_a_call_has_been_sent_before(pool: Callable[..., Router]) -> None:
    noting = Noting()
    router = pool(ScriptedClient("a", [REFUSED]), "b", strategy=noting)
    assert router.run(ask) == "b"
    assert noting.asked == ["order", "order again"]


def test_a_call_that_is_no_stream_is_never_resumed(pool: Callable[..., Router]) -> None:
    router = pool("a", policy={"on_broken_stream": "resume"})
    call: Call = router.begin()
    assert not call.is_resumable
    call.stream(resumable=True)
    assert call.is_resumable
