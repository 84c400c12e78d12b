"""The circuit breaker of one target, on a clock of its own."""

from __future__ import annotations

import random
from typing import Any

import pytest

from failover_core.engine.breaker import Breaker
from failover_core.policy import BreakerPolicy

LEASE = 10.0


class Bench:
    """A breaker and its time."""

    def __init__(self, **policy: Any) -> None:
        self.now = 1_000.0
        self.breaker = Breaker(BreakerPolicy(**policy), random.Random(3), self.now)

    def admit(self) -> int:
        return self.breaker.admit(self.now, LEASE)

    def call(self, outcome: str) -> bool:
        """Send one call ("F" fails, "S" succeeds) and return whether it moved the breaker."""
        permit = self.admit()
        end = self.breaker.failure if outcome == "F" else self.breaker.success
        return end(permit, self.now)

    def play(self, outcomes: str) -> str:
        """Return the state after some calls."""
        for outcome in outcomes:
            self.call(outcome)
        return self.breaker.state

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def cool(self) -> float:
        """Let the cooldown pass and return how long it was."""
        seconds = self.breaker.ready_at - self.now
        self.now = self.breaker.ready_at
        return seconds


@pytest.mark.parametrize(
    ("outcomes", "state"),
    [
        ("FFFF", "closed"),
        ("FFFFF", "open"),
        ("FFFFSSSS", "closed"),
        ("SSFSF", "closed"),
        ("SFSFSF", "open"),
        ("SSSSSSFFFF", "closed"),
        ("SSSSSFFFFF", "open"),
    ],
)
def test_five_failures_in_a_row_or_half_of_five_calls_eject(outcomes: str, state: str) -> None:
    assert Bench().play(outcomes) == state


def test_failures_in_a_row_count_however_far_apart() -> None:
    bench = Bench()
    for _ in range(5):
        bench.wait(3_600)
        bench.call("F")
    assert bench.breaker.state == "open"


def test_the_ratio_forgets_what_is_older_than_its_window() -> None:
    bench = Bench(consecutive_failures=100)
    bench.play("FFFF")
    bench.wait(31)
    assert bench.play("SSFSS") == "closed"
    assert bench.play("FF") == "closed"
    assert bench.play("F") == "open"


def test_the_window_slides_in_tenths() -> None:
    bench = Bench(consecutive_failures=100, minimum_calls=10)
    for _ in range(10):
        assert bench.breaker.state == "closed"
        bench.call("F")
        bench.wait(2.9)
    assert bench.breaker.state == "open"


def test_a_quiet_day_leaves_an_empty_window() -> None:
    bench = Bench(consecutive_failures=100, minimum_calls=2)
    bench.play("F")
    bench.wait(86_400)
    assert bench.play("F") == "closed"


def test_a_late_result_of_a_time_before_changes_nothing() -> None:
    bench = Bench()
    early = [bench.admit() for _ in range(6)]
    bench.play("FFFFF")
    assert not bench.breaker.success(early[0], bench.now)
    assert not bench.breaker.failure(early[1], bench.now)
    assert not bench.breaker.eject(early[2], bench.now)
    bench.breaker.release(early[3], bench.now)
    assert bench.breaker.state == "open"
    bench.cool()
    bench.play("SS")
    assert bench.breaker.state == "closed"
    assert not bench.breaker.failure(early[4], bench.now)
    assert bench.breaker.failures_in_a_row == 0


def test_half_open_admits_one_probe_until_its_lease_ends() -> None:
    bench = Bench()
    bench.play("FFFFF")
    bench.cool()
    probe = bench.admit()
    assert bench.breaker.ready_at == bench.now + LEASE
    beside = bench.admit()
    assert beside != probe
    assert not bench.breaker.success(beside, bench.now)
    assert not bench.breaker.failure(beside, bench.now)
    assert bench.breaker.state == "half_open"


def test_a_probe_that_outlasts_its_lease_still_counts() -> None:
    bench = Bench()
    bench.play("FFFFF")
    bench.cool()
    first = bench.admit()
    bench.wait(LEASE)
    bench.admit()
    assert bench.breaker.ready_at == bench.now + LEASE
    bench.wait(LEASE)
    bench.admit()
    bench.breaker.success(first, bench.now)
    assert bench.call("S")
    assert bench.breaker.state == "closed"


def test_a_probe_without_a_verdict_gives_its_lease_back() -> None:
    bench = Bench()
    bench.play("FFFFF")
    bench.cool()
    probe = bench.admit()
    bench.breaker.release(probe, bench.now)
    assert bench.breaker.ready_at <= bench.now
    assert bench.breaker.state == "half_open"
    assert not bench.breaker.success(probe, bench.now), "a permit comes back once"


def test_two_successes_close_and_one_failure_between_them_opens() -> None:
    bench = Bench()
    bench.play("FFFFF")
    bench.cool()
    assert bench.play("S") == "half_open"
    assert bench.play("F") == "open"
    bench.cool()
    assert bench.play("S") == "half_open"
    assert bench.play("S") == "closed"


def test_a_success_as_last_resort_counts_as_a_probe() -> None:
    bench = Bench()
    bench.play("FFFFF")
    assert bench.play("S") == "half_open"
    assert bench.breaker.ready_at <= bench.now
    assert bench.play("S") == "closed"


def test_a_failure_as_last_resort_does_not_lengthen_the_cooldown() -> None:
    bench = Bench()
    bench.play("FFFFF")
    before = bench.breaker.ready_at
    assert not bench.call("F")
    assert bench.breaker.ready_at == before


def test_the_cooldown_doubles_to_its_longest_within_its_jitter() -> None:
    bench = Bench()
    bench.play("FFFFF")
    for ejection in range(30):
        bound = min(300, 5 * 2**ejection)
        assert bound / 2 <= bench.cool() <= bound
        assert bench.play("F") == "open"


def test_cooldowns_differ_so_that_clients_do_not_return_together() -> None:
    dice = random.Random(1)
    breakers = [Breaker(BreakerPolicy(consecutive_failures=1), dice, 0.0) for _ in range(50)]
    for breaker in breakers:
        breaker.failure(breaker.admit(0.0, LEASE), 0.0)
    assert len({breaker.ready_at for breaker in breakers}) == 50


def test_each_healthy_ten_seconds_forgive_one_ejection() -> None:
    bench = Bench()
    bench.play("FFFFF")
    for _ in range(3):
        bench.cool()
        bench.call("F")
    assert 20 <= bench.cool() <= 40
    bench.play("SS")
    bench.wait(25)
    bench.play("FFFFF")
    assert 7.5 < bench.cool() <= 20, "four ejections less two, and this one"


def test_a_first_success_alone_does_not_shorten_the_next_cooldown() -> None:
    bench = Bench()
    bench.play("FFFFF")
    bench.cool()
    bench.call("F")
    bench.cool()
    bench.play("SS")
    bench.play("FFFFF")
    assert 10 <= bench.cool() <= 20


def test_a_refused_key_opens_at_once_for_the_longest_cooldown() -> None:
    bench = Bench()
    assert bench.breaker.eject(bench.admit(), bench.now)
    assert bench.cool() == 300
    assert not bench.breaker.eject(-1, bench.now)


def test_a_reset_closes_and_forgets_the_calls_in_flight() -> None:
    bench = Bench()
    early = bench.admit()
    bench.play("FFFFF")
    bench.breaker.reset(bench.now)
    assert bench.breaker.state == "closed"
    assert not bench.breaker.failure(early, bench.now)
    bench.play("FFFFF")
    assert 2.5 <= bench.cool() <= 5, "earlier ejections are forgotten"
