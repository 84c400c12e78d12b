"""What a router keeps does not grow with the calls it has carried."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections.abc import Callable

import pytest

from failover_core import AllTargetsFailedError, Router
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, named

MEBIBYTE = 1 << 20


def growth(work: Callable[[int], object], *, times: int) -> int:
    """Return the bytes that stay allocated after more work, some having been done before."""
    for number in range(500):  # the history of events is full by then
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


def test_healthy_calls_leave_nothing_behind() -> None:
    router = Router(named("a", "b"))
    assert growth(lambda _: router.run(str.upper), times=50_000) < MEBIBYTE // 4


def test_ten_thousand_different_errors_leave_nothing_behind(fake_clock: FakeClock) -> None:
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

    assert growth(work, times=10_000) < 4 * MEBIBYTE


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
