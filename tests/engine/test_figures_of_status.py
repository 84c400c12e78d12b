"""The figures of a status: counts, rates, times, windows and percentiles."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from failover_core import Router, Strategy, Target
from failover_core.engine.ewma import PeakEwma
from failover_core.engine.samples import Samples, percentile
from failover_core.engine.window import Window
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, begin, fail_first, status

WALL = 1_700_000_000.0


def take(router: Router, clock: FakeClock, seconds: float) -> None:
    """Let one call take so long."""
    call, attempt = begin(router)
    clock.advance(seconds)
    call.succeeded(attempt)


# One status


def test_a_status_shows_all_that_is_known_of_a_pool(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    client = SimpleNamespace(model="llama")
    router = pool(Target(client, name="a", price=(1e6, 2e6)), "b", name="docs")
    call, attempt = begin(router)
    fake_clock.advance(2)
    call.succeeded(attempt)
    call.used(3, 4)
    call, attempt = begin(router)
    call.failed(attempt, REFUSED)
    found = router.status()
    assert (found.name, found.active, found.requests) == ("docs", "a", 2)
    assert (found.succeeded, found.failed_over, found.failed) == (1, 0, 0)
    assert (found.success_rate, found.tokens, found.spend) == (1.0, 7, 11.0)
    assert [target.model for target in found.targets] == ["llama", None]
    assert (found["a"].tokens, found["a"].spend, found["b"].spend) == (7, 11.0, 0.0)


def test_times_are_those_of_peoples_clocks(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", policy={"probe": {"check": lambda _: None}})
    seen = []
    for end in (lambda: begin(router)[0], lambda: fail_first(router, 1), lambda: router.run(ask)):
        end()
        fake_clock.advance(10)
        seen.append(router.status()["a"])
    router.probe("a")
    fake_clock.advance(10)
    router.close()
    seen.append(router.status()["a"])
    shown = [(each.last_failure, each.last_success, each.last_check) for each in seen]
    assert shown == [
        (None, None, None),
        (WALL + 10, None, WALL + 10),
        (WALL + 10, WALL + 20, WALL + 20),
        (WALL + 10, WALL + 20, WALL + 30),
    ]


@pytest.mark.parametrize(("answers", "failures", "rate"), [(0, 0, None), (1, 1, 0.5), (3, 1, 0.75)])
def test_a_rate_is_that_of_the_calls_that_have_ended(
    pool: Callable[..., Router], answers: int, failures: int, rate: float | None
) -> None:
    script = ["served"] * answers + [REFUSED] * failures
    router = pool(ScriptedClient("a", script), policy={"on_exhausted": "last"})
    for _ in range(answers):
        router.run(ask)
    for _ in range(failures):
        with pytest.raises(ConnectionRefusedError):
            router.run(ask)
    begin(router)
    assert (router.status().success_rate, router.status()["a"].success_rate) == (rate, rate)


@pytest.mark.parametrize(
    ("script", "health"),
    [
        (["served"], "healthy"),
        ([REFUSED], "degraded"),
        ([status(429)], "degraded"),
        ([status(401)], "unhealthy"),
        ([REFUSED, "served"], "healthy"),
    ],
)
def test_a_targets_health_is_one_word(
    pool: Callable[..., Router], fake_clock: FakeClock, script: list[Any], health: str
) -> None:
    router = pool(ScriptedClient("a", script, default="served"), "b")
    assert router.status()["a"].health == "unknown"
    for _ in script:
        router.run(ask)
    assert router.status()["a"].health == health


def test_failures_and_throttlings_are_counted_apart(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    script = [status(429), REFUSED] * 3
    router = pool(ScriptedClient("a", script), "b")
    for _ in script:
        router.run(ask)
        fake_clock.advance(60)
    found = router.status()["a"]
    assert (found.failures, found.throttled, found.consecutive_failures) == (3, 3, 3)


def test_what_is_refused_for_its_content_is_no_failure_of_the_target(
    pool: Callable[..., Router],
) -> None:
    refusal = status(400, code="content_filter")
    router = pool(ScriptedClient("a", [refusal] * 9), "b", policy={"on_content_safety": "failover"})
    assert [router.run(ask) for _ in range(9)] == ["b"] * 9
    found = router.status()["a"]
    assert (found.failures, found.state, found.health) == (0, "closed", "healthy")


def test_an_end_that_is_reported_twice_counts_once(pool: Callable[..., Router]) -> None:
    router = pool("a")
    call, attempt = begin(router)
    call.succeeded(attempt)
    call.succeeded(attempt)
    call.failed(attempt, REFUSED)
    call.abandoned(attempt)
    found = router.status()
    assert (found.succeeded, found["a"].failures, found["a"].in_flight) == (1, 0, 0)


def test_a_call_that_has_failed_is_over_and_fails_once(pool: Callable[..., Router]) -> None:
    router = pool(ScriptedClient("a", default=REFUSED))
    call, attempt = begin(router)
    call.failed(attempt, REFUSED)
    first: Any = call.next()
    again: Any = call.next()
    assert again.error is first.error
    assert (first.is_lost, again.is_lost) == (True, False)
    assert [str(event.kind) for event in router.events] == ["attempt_failed", "exhausted"]
    assert router.status().failed == 1


def test_each_call_that_no_target_could_serve_is_exhausted_and_counted(
    pool: Callable[..., Router],
) -> None:
    router = pool(ScriptedClient("a", default=REFUSED))
    for failed in (1, 2, 3):
        call, attempt = begin(router)
        call.failed(attempt, REFUSED)
        assert not call.is_exhausted
        call.next()
        assert call.is_exhausted
        assert router.status().failed == failed


def test_a_call_that_its_own_request_ended_is_not_exhausted(pool: Callable[..., Router]) -> None:
    call, attempt = begin(pool("a", "b"))
    call.failed(attempt, status(400))
    call.next()
    assert not call.is_exhausted


def test_failures_cost_nothing(pool: Callable[..., Router]) -> None:
    target = Target(ScriptedClient("a", [REFUSED]), name="a", price=(1e6, 1e6))
    router = pool(target, "b")
    assert router.run(ask, tokens=100) == "b"
    assert (router.status().tokens, router.status().spend) == (0, 0.0)


def test_without_a_price_tokens_cost_nothing(pool: Callable[..., Router]) -> None:
    router = pool("a")
    router.run(ask, usage=lambda _: (5, 6))
    assert (router.status().tokens, router.status().spend) == (11, 0.0)


def test_a_call_without_an_answer_used_nothing_and_was_served_by_nobody(
    pool: Callable[..., Router],
) -> None:
    router = pool("a")
    call, _ = begin(router)
    call.used(5, 6)
    assert router.status().tokens == 0
    assert call.report == {
        "target": None,
        "model": None,
        "attempts": 1,
        "failed_over": False,
        "errors": [],
    }


def test_a_stream_names_its_target_and_charges_it_before_its_end(
    pool: Callable[..., Router],
) -> None:
    router = pool("a")
    call, attempt = begin(router)
    call.commit(attempt)
    call.used(2, 0)
    call.used(0, 3)
    assert call.report["target"] == "a"
    assert router.status()["a"].tokens == 5


def test_a_pools_active_target_is_the_one_that_a_strategy_leaves_out_if_none_is_left(
    pool: Callable[..., Router],
) -> None:
    router = pool("a", "b", strategy=lambda targets: [])
    assert router.status().active == "a" == router.run(ask)


def test_a_status_is_read_at_the_routers_time(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    class ByTheClock(Strategy):
        def order(self, targets: Any, now: float) -> Any:
            return targets if now < 2_000 else targets[::-1]

    router = pool("a", "b", strategy=ByTheClock())
    assert router.status().active == "a"
    fake_clock.advance(1_000)
    assert router.status().active == "b"


def test_a_target_is_active_again_in_the_instant_that_ends_its_cooldown(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(ScriptedClient("a", [status(429, retry_after="16")]), "b", dice=Least())
    router.run(ask)
    for seconds, active in ((15, "b"), (1, "a")):
        fake_clock.advance(seconds)
        assert router.status().active == active


class Least:
    """Dice that always show the least."""

    def uniform(self, a: float, _: float, /) -> float:
        return a


# Requests a minute


@pytest.mark.parametrize(
    ("starts", "now", "shown"),
    [
        ([0.5], 59, 1),
        ([0.5, 1, 2, 3], 60, 4),
        ([0.5, 1, 2, 3], 75, 3),
        ([0.5, 1, 2, 3], 105, 1),
        ([0.5, 1, 2, 3], 120, 0),
        ([0.5, 1, 2, 3, 60], 75, 3 + 1),
        ([0.5, 1, 2, 3, 70, 80], 90, 2 + 2),
        ([0.5, 1, 2, 3, 120], 150, 1),
        ([0.5, 1, 2, 3, 130, 190], 195, 1 + 0.75),
        ([0.5, 1, 2, 3, 400], 410, 1),
    ],
)
def test_requests_a_minute_take_those_of_the_past_minute_as_even(
    starts: list[float], now: float, shown: float
) -> None:
    clock = FakeClock(now=0.0)
    router = Router([Target("client", name="a")], clock=clock)
    for start in starts:
        clock.advance(start - clock.now())
        router.run(str)
    clock.advance(now - clock.now())
    assert router.status()["a"].requests_per_minute == pytest.approx(shown)


# Latencies


def test_latencies_are_those_of_the_newest_64_answers(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a")
    for number in range(100):
        take(router, fake_clock, number)
    found = router.status()["a"].latency
    assert found is not None
    assert found.mean == pytest.approx(sum(range(36, 100)) / 64)
    assert (found.p50, found.p95) == (36 + 32, 36 + 60)


def test_an_answer_in_no_time_took_no_time(pool: Callable[..., Router]) -> None:
    router = pool("a")
    router.run(ask)
    found = router.status()["a"].latency
    assert found is not None
    assert (found.mean, found.p50, found.p95) == (0, 0, 0)


def test_of_many_numbers_the_oldest_is_forgotten_first() -> None:
    samples = Samples(3)
    kept = []
    for number in range(1, 8):
        samples.add(number)
        kept.append(samples.ordered())
    assert kept[3:] == [[2, 3, 4], [3, 4, 5], [4, 5, 6], [5, 6, 7]]
    assert len(samples) == 3


@pytest.mark.parametrize(("share", "number"), [(0.0, 0), (0.5, 10), (0.95, 19), (0.99, 19)])
def test_a_share_of_the_numbers_lies_below_their_percentile(share: float, number: int) -> None:
    assert percentile([float(each) for each in range(20)], share) == number
    assert percentile([7.0], share) == 7.0


def test_the_average_latency_jumps_up_comes_down_slowly_and_fades() -> None:
    e = 2.718281828459045
    ewma = PeakEwma()
    assert ewma.at(100.0) is None
    ewma.observe(2.0, 100.0)
    assert ewma.at(110.0) == pytest.approx(2 / e)
    ewma.observe(4.0, 120.0)
    assert ewma.value == 4
    ewma.observe(1.0, 130.0)
    assert ewma.value == pytest.approx(1 + 3 / e)
    ewma.failed(0.1, 130.0)
    assert ewma.value == pytest.approx(1 + 3 / e)
    ewma.failed(9.0, 131.0)
    assert ewma.value == 9


# Windows


@pytest.mark.parametrize("seconds", [1.0, 10.0, 100.0])
def test_a_window_of_any_length_forgets_in_tenths(seconds: float) -> None:
    window, tenth = Window(seconds), seconds / 10
    for number in range(10):
        window.add((number + 0.5) * tenth)
    totals = [window.total((number + 0.5) * tenth) for number in range(9, 20)]
    assert totals == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_what_happens_in_the_instant_that_ends_a_tenth_belongs_to_the_next() -> None:
    window = Window(10.0)
    window.add(0.5)
    window.add(1.0, 5)
    assert [window.total(now) for now in (9.9, 10.0, 10.9, 11.0)] == [6, 5, 5, 0]


@pytest.mark.parametrize(
    ("since", "totals"),
    [
        (10.5, [16, 11, 1]),
        (8.5, [16, 11, 5]),
        (1.0, [16, 15, 5]),
        (0.9, [20, 15, 5]),
        (0.0, [20, 15, 5]),
    ],
)
def test_what_is_taken_back_is_taken_from_its_own_tenth(since: float, totals: list[int]) -> None:
    window = Window(10.0)
    for at in (1.5, 8.5, 9.5, 10.5):
        window.add(at, 5)
    window.remove(10.5, 4, since)
    assert [window.total(now) for now in (10.5, 11.5, 19.5)] == totals


def test_what_was_taken_back_is_not_forgotten_a_second_time() -> None:
    window = Window(10.0)
    window.add(2.5, 7)
    window.add(5.5, 2)
    window.remove(6.5, 7, since=2.5)
    assert [window.total(now) for now in (6.5, 12.0, 15.5)] == [2, 2, 0]
