"""Time limits, in real time and small: attempts, calls, first content, silence."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, AttemptTimeoutError, Router, Target
from failover_core.engine import workers
from failover_core.engine.deadline import current_deadline
from tests.engine.doors import Doors

GRACE = 1.0
"""Seconds past a deadline within which a call must be back, on a machine under load; the hanging
clients hang for far longer."""


class Hanging:
    """A client that hangs for as long as the test runs."""

    def __init__(self, name: str, released: threading.Event) -> None:
        self.name = name
        self.calls = 0
        self._released = released

    def call(self) -> str:
        self.calls += 1
        self._released.wait(10)
        return self.name

    async def acall(self) -> str:
        self.calls += 1
        await asyncio.sleep(10)
        return self.name


class Prompt:
    """A client that answers at once."""

    name = "prompt"

    def call(self) -> str:
        return self.name

    async def acall(self) -> str:
        return self.name


@pytest.fixture
def released() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(params=Doors.names)
def ask(request: pytest.FixtureRequest) -> Callable[[Router], Any]:
    """Ask through one of the doors, with clients that really wait."""

    async def chunks(client: Any) -> AsyncIterator[Any]:
        yield await client.acall()

    async def collect(router: Router) -> list[Any]:
        return [chunk async for chunk in router.astream(chunks)]

    def source(client: Any) -> Iterator[Any]:
        yield client.call()

    return {
        "run": lambda router: router.run(lambda client: client.call()),
        "arun": lambda router: asyncio.run(router.arun(lambda client: client.acall())),
        "stream": lambda router: "".join(router.stream(source)),
        "astream": lambda router: "".join(asyncio.run(collect(router))),
    }[str(request.param)]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began <= seconds + GRACE


def test_a_hanging_target_costs_its_attempt_timeout(
    ask: Callable[[Router], Any], released: threading.Event
) -> None:
    router = Router([Hanging("a", released), Prompt()], policy={"attempt_timeout": 0.1})
    with within(0.1):
        assert ask(router) == "prompt"
    found = router.status()["a"]
    assert (found.failures, found.last_error, found.in_flight) == (1, "AttemptTimeoutError", 0)


def test_a_target_may_have_an_attempt_timeout_of_its_own(
    ask: Callable[[Router], Any], released: threading.Event
) -> None:
    hanging = Target(Hanging("a", released), attempt_timeout=0.1)
    router = Router([hanging, Prompt()], policy={"attempt_timeout": 9})
    with within(0.1):
        assert ask(router) == "prompt"


def test_a_later_target_still_gets_its_try_of_the_total(
    ask: Callable[[Router], Any], released: threading.Event
) -> None:
    hanging = [Hanging("a", released), Hanging("b", released)]
    router = Router([*hanging, Prompt()], policy={"total_timeout": 0.9})
    with within(0.6):
        assert ask(router) == "prompt"


def test_the_total_holds_over_all_targets(
    ask: Callable[[Router], Any], released: threading.Event
) -> None:
    hanging = [Hanging(name, released) for name in "abc"]
    router = Router(hanging, policy={"total_timeout": 0.3})
    with within(0.3), pytest.raises(AllTargetsFailedError, match="total_timeout is over"):
        ask(router)
    status = router.status()
    assert status.failed == 1
    assert not any(target.in_flight for target in status.targets)


def test_a_slice_too_thin_to_be_fair_leaves_no_mark(
    ask: Callable[[Router], Any], released: threading.Event
) -> None:
    hanging = [Hanging("a", released), Hanging("b", released)]
    router = Router(hanging, policy={"total_timeout": 0.3})
    with pytest.raises(AllTargetsFailedError):
        ask(router)
    assert [target.failures for target in router.status().targets] == [1, 0]


def test_no_timeout_keeps_the_call_in_the_callers_thread() -> None:
    router = Router([Prompt()])
    assert router.run(lambda _: threading.current_thread()) is threading.current_thread()
    assert list(router.stream(lambda _: iter([threading.current_thread()]))) == [
        threading.current_thread()
    ]


def test_a_client_that_keeps_its_deadline_is_told_it_and_stays_in_the_callers_thread() -> None:
    class Own(Prompt):
        enforces_deadline = True

    def behave(_: Any) -> tuple[Any, float | None]:
        return threading.current_thread(), current_deadline.get()

    router = Router([Own()], policy={"attempt_timeout": 5})
    thread, deadline = router.run(behave)
    assert thread is threading.current_thread()
    assert deadline is not None
    assert 4 < deadline - time.monotonic() <= 5
    assert current_deadline.get() is None


def test_context_variables_of_the_caller_reach_a_timed_client() -> None:
    user = contextvars.ContextVar("user", default="nobody")
    user.set("ada")
    router = Router([Prompt()], policy={"attempt_timeout": 5})
    assert router.run(lambda _: user.get()) == "ada"
    assert list(router.stream(lambda _: iter([user.get()]))) == ["ada"]


def test_abandoned_calls_are_counted_until_they_end(released: threading.Event) -> None:
    router = Router([Hanging("a", released), Prompt()], policy={"attempt_timeout": 0.05})
    for _ in range(3):
        router.run(lambda client: client.call())
    assert router.status()["a"].abandoned == 3
    released.set()
    deadline = time.monotonic() + 5
    while router.status()["a"].abandoned and time.monotonic() < deadline:
        time.sleep(0.01)
    assert router.status()["a"].abandoned == 0


def test_a_target_with_too_many_abandoned_calls_gets_no_more_and_the_others_serve(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MAX_ABANDONED", 2)
    hanging = Hanging("a", released)
    policy = {"attempt_timeout": 0.05, "breaker": {"consecutive_failures": 99, "minimum_calls": 99}}
    router = Router([hanging, Prompt()], policy=policy)
    answers = [router.run(lambda client: client.call()) for _ in range(6)]
    assert answers == ["prompt"] * 6
    assert hanging.calls == 2
    stream = router.stream(lambda client: iter([client.call()]))
    assert list(stream) == ["prompt"]
    assert hanging.calls == 2


def test_the_first_token_may_be_given_less_time_than_an_answer(released: threading.Event) -> None:
    router = Router([Hanging("a", released), Prompt()], policy={"first_token_timeout": 0.1})
    with within(0.1):
        assert list(router.stream(lambda client: (client.call() for _ in "x"))) == ["prompt"]


def test_a_timeout_of_the_client_itself_is_no_timeout_of_ours() -> None:
    async def late(_: Any) -> Any:
        raise TimeoutError

    router = Router([Prompt()], policy={"attempt_timeout": 5})
    with pytest.raises(AllTargetsFailedError) as caught:
        asyncio.run(router.arun(late))
    assert not isinstance(caught.value.exceptions[0], AttemptTimeoutError)
