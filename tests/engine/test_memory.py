"""What a router keeps does not grow with the calls it has carried."""

from __future__ import annotations

import gc
import itertools
import logging
import tracemalloc
from collections.abc import Callable

import pytest

from failover_core import AllTargetsFailedError, Router, Target
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, named
from tests.figures import Figure, size

MEBIBYTE = 1 << 20


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Keep pytest from collecting what is logged."""
    caplog.set_level(logging.CRITICAL, logger="failover_core")


def growth(work: Callable[[int], object], *, times: int, before: int = 500) -> int:
    """Return the bytes that stay allocated after more work, some having been done before.

    What was done before is to have filled the history of events.
    """
    for number in range(before):
        work(-1 - number)
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(times):
            work(number)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.timeout(600)
def test_a_million_calls_leave_nothing_behind(fake_clock: FakeClock, figure: Figure) -> None:
    """Every eighteenth fails over; limits, prices and a throttle are in use."""
    router = Router(
        [
            Target(name, name=name, requests_per_minute=10**6, price=(1, 1), spend_limit=10**6)
            for name in "ab"
        ],
        policy={"adaptive_throttle": True},
        strategy="round_robin",
        clock=fake_clock,
    )
    calls = size(ci=20_000, full=1_000_000)

    def work(number: int) -> None:
        fake_clock.advance(0.1)

        def behave(client: str) -> str:
            if client == "a" and number % 9 == 0:
                raise ConnectionRefusedError(client)  # one object would keep every traceback
            return client

        router.run(behave, tokens=number % 100, usage=lambda _: (10, 10))

    grown = growth(work, times=calls, before=10_000)
    assert len(router.events) == 1_000
    figure("memory, calls", calls=calls, worst={"KiB more than before": grown / 1024})
    assert grown < MEBIBYTE


def test_ten_thousand_pools_that_are_gone_leave_nothing_behind(figure: Figure) -> None:
    def work(number: int) -> None:
        targets = [Target(f"client {number}", name=f"{name} {number}") for name in "ab"]
        router = Router(targets, name=f"pool {number}")
        router.switch(f"b {number}")
        router.run(str.upper)

    grown = growth(work, times=10_000)
    figure("memory, distinct pools", pools=10_000, worst={"KiB more than before": grown / 1024})
    assert grown < MEBIBYTE


def test_ten_thousand_different_errors_leave_nothing_behind(
    fake_clock: FakeClock, figure: Figure
) -> None:
    router = Router(named("a", "b"), clock=fake_clock)

    def work(number: int) -> None:
        fake_clock.advance(1)
        kind = type(f"Error{number}", (ConnectionError,), {})

        def behave(client: str) -> str:
            if client == "a":
                message = f"request {number} was refused"
                raise kind(message)
            return client

        router.run(behave)

    grown = growth(work, times=10_000)
    figure("memory, distinct errors", errors=10_000, worst={"KiB more than before": grown / 1024})
    assert grown < MEBIBYTE


def test_failing_calls_leave_nothing_behind(fake_clock: FakeClock) -> None:
    router = Router(named("a", "b"), clock=fake_clock)

    def behave(client: str) -> str:
        raise ConnectionRefusedError(client)

    def work(_: int) -> None:
        with pytest.raises(AllTargetsFailedError):
            router.run(behave)

    assert growth(work, times=500) < MEBIBYTE // 4


def test_an_error_object_raised_again_and_again_gathers_no_notes() -> None:
    error = OSError("always the same")
    router = Router([ScriptedClient("a", default=error), ScriptedClient("b", default="b")])
    for _ in range(100):
        router.run(ask)
    assert error.__notes__ == ["target 'a', attempt 1: connection"]


def test_an_error_that_takes_no_notes_fails_over_too() -> None:
    class Frozen(Exception):  # noqa: N818 - as a frozen dataclass would be
        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

        def add_note(self, note: str, /) -> None:
            self.__notes__ = [note]

    router = Router([ScriptedClient("a", default=Frozen()), ScriptedClient("b", default="b")])
    assert router.run(ask) == "b"


def test_the_history_keeps_the_newest_thousand_events() -> None:
    router = Router([ScriptedClient("a", default=REFUSED), ScriptedClient("b", default="b")])
    for name in itertools.islice(itertools.cycle("ba"), 1_501):
        router.switch(name)
    assert len(router.events) == 1_000
    assert next(reversed(list(router.events))).to_target == "b"
