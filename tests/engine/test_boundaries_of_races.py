"""Boundaries of races, streams and threads: what comes in the same instant, what comes too late."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, AttemptTimeoutError, Router, Target
from failover_core.engine import workers
from failover_core.engine.deadline import current_deadline
from failover_core.engine.hedging import Hedging
from failover_core.engine.pool import _renew_pools
from failover_core.engine.workers import MAX_ABANDONED, Workers, in_thread
from failover_core.policy import HedgePolicy
from failover_core.resuming import Resume
from failover_core.testing import FakeClock
from tests.engine.doors import REFUSED, begin, named, status, trace

HEDGE: dict[str, Any] = {"hedge": {"after": 0.01, "budget": 1}}
PATIENCE = 10


def hedged(**policy: Any) -> Router:
    return Router(named("a", "b"), policy={**HEDGE, **policy})


async def turns(number: int = 20) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.fixture
async def complaints() -> Any:
    """Return what the event loop complains of: errors in callbacks, in tasks nobody awaits."""
    heard: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    yield heard
    asyncio.get_running_loop().set_exception_handler(None)


# When an attempt is slow


@pytest.mark.parametrize(("after", "slow"), [("p50", 10), ("p90", 18), ("p95", 19), ("p99", 19)])
def test_the_twentieth_latency_is_the_first_that_says_what_is_slow(after: str, slow: float) -> None:
    hedging = Hedging(HedgePolicy(after=after))
    for latency in range(20):
        assert hedging.after(streaming=False) is None
        hedging.observe(latency, streaming=False)
    assert hedging.after(streaming=False) == slow


def test_every_sixteenth_latency_after_that_says_it_anew() -> None:
    hedging, seen = Hedging(HedgePolicy(after="p50")), list[float | None]()
    for latency in range(60):
        hedging.observe(latency, streaming=True)
        seen.append(hedging.after(streaming=True))
    changes = [place + 1 for place in range(1, 60) if seen[place] != seen[place - 1]]
    assert changes == [20, 36, 52]


@pytest.mark.parametrize("seconds", [0.1, 7.0])
def test_what_lost_a_race_counts_among_the_latencies(
    pool: Callable[..., Router], fake_clock: FakeClock, seconds: float
) -> None:
    router = pool("a", "b", policy={"hedge": {}})
    for _ in range(20):
        call, first = begin(router)
        fake_clock.advance(seconds)
        call.abandoned(first)
    assert begin(router)[1].hedge_after == pytest.approx(seconds)


async def test_an_async_attempt_is_not_hedged_before_its_time() -> None:
    router = Router(named("a", "b"), policy={"hedge": {"after": 30}})

    async def send(client: str) -> str:
        await asyncio.sleep(0.01)
        return client

    assert await router.arun(send) == "a"
    assert trace(router) == []


# Where the streams of a race live


@pytest.mark.parametrize("winner", ["a", "b"])
async def test_each_stream_of_an_async_race_is_opened_and_read_in_one_task(winner: str) -> None:
    tasks: dict[str, set[Any]] = {"a": set(), "b": set()}
    asked = asyncio.Event()

    async def chunks(client: str) -> AsyncIterator[str]:
        tasks[client].add(asyncio.current_task())
        if client == "b":
            asked.set()
        await (asked.wait() if client == winner else asyncio.sleep(PATIENCE))
        for _ in range(3):
            yield client
            tasks[client].add(asyncio.current_task())

    assert [chunk async for chunk in hedged().astream(chunks)] == [winner] * 3
    assert tasks["a"] == {asyncio.current_task()}
    assert len(tasks["b"]) == 1
    assert tasks["b"] != tasks["a"]


@pytest.mark.parametrize("winner", ["a", "b"])
def test_each_stream_of_a_race_is_opened_and_read_in_one_thread(winner: str) -> None:
    threads: dict[str, set[Any]] = {"a": set(), "b": set()}
    asked, over = threading.Event(), threading.Event()

    def chunks(client: str) -> Iterator[str]:
        threads[client].add(threading.current_thread())
        if client == "b":
            asked.set()
        (asked if client == winner else over).wait(PATIENCE)
        for _ in range(3):
            yield client
            threads[client].add(threading.current_thread())

    assert list(hedged().stream(chunks)) == [winner] * 3
    over.set()
    assert [len(threads[name]) for name in "ab"] == [1, 1]


async def test_a_hedges_stream_is_not_read_far_ahead_of_its_reader() -> None:
    sent: list[int] = []

    async def chunks(client: str) -> AsyncIterator[int]:
        if client == "a":
            await asyncio.sleep(PATIENCE)
        for number in range(10):
            sent.append(number)
            yield number

    stream = aiter(hedged().astream(chunks))
    assert await anext(stream) == 0
    await turns()
    assert len(sent) <= 3
    assert [number async for number in stream] == [*range(1, 10)]


@pytest.mark.parametrize("winner", ["a", "b"])
async def test_the_stream_that_wins_an_async_race_may_end_without_content(winner: str) -> None:
    asked = asyncio.Event()

    async def chunks(client: str) -> AsyncIterator[str]:
        if client == "b":
            asked.set()
        await (asked.wait() if client == winner else asyncio.sleep(PATIENCE))
        yield ""

    async with asyncio.timeout(PATIENCE):
        assert [chunk async for chunk in hedged().astream(chunks, is_content=bool)] == [""]


# Two ends in one instant


async def test_an_answer_that_comes_although_it_is_cancelled_serves_and_the_hedges_is_closed(
    complaints: list[Any],
) -> None:
    closed = asyncio.Event()

    async def chunks(client: str) -> AsyncIterator[str]:
        if client == "a":
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                yield "in spite of it"
            return
        try:
            yield "b"
            yield "more"
            yield "and more"
        finally:
            closed.set()

    router = hedged()
    assert [chunk async for chunk in router.astream(chunks)] == ["in spite of it"]
    async with asyncio.timeout(PATIENCE):
        await closed.wait()
    await turns()
    assert complaints == []
    assert router.status()["b"].in_flight == 0


async def test_when_both_fail_in_one_instant_both_errors_are_told(complaints: list[Any]) -> None:
    waits, go_on = asyncio.Event(), asyncio.Event()
    errors = {name: ConnectionRefusedError(name) for name in "ab"}

    async def send(client: str) -> None:
        if client == "a":
            await waits.wait()
            asyncio.get_running_loop().call_soon(go_on.set)
        waits.set()
        await go_on.wait()  # b waits first: its error is there before anybody has looked at it
        raise errors[client]

    with pytest.raises(AllTargetsFailedError) as caught:
        await hedged().arun(send)
    assert caught.value.exceptions == (errors["a"], errors["b"])
    await turns()
    assert complaints == []


async def test_a_loser_is_cancelled_without_a_complaint(complaints: list[Any]) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def send(client: str) -> str:
        if client == "a":
            await asked.wait()
            return client
        asked.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            ended.set()
        return client

    assert await hedged().arun(send) == "a"
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    await turns()
    assert complaints == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Make the interrupt key work, which a shell turns off for what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to a thread")
@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_from_the_keyboard_ends_a_race_and_blames_nobody() -> None:
    over = threading.Event()

    def send(client: str) -> None:
        if client == "b":
            time.sleep(0.05)  # by then the race waits, which a signal ends
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        over.wait(PATIENCE)

    router = hedged(breaker={"consecutive_failures": 1})
    with pytest.raises(KeyboardInterrupt):
        router.run(send)
    over.set()
    found = router.status()
    assert [(each.in_flight, each.state) for each in found.targets] == [(0, "closed")] * 2
    assert trace(router) == ["hedged a->b"]


@pytest.mark.parametrize("door", ["run", "arun"])
def test_an_error_in_a_race_is_recorded_as_what_it_is(door: str) -> None:
    async def asend(_: str) -> None:
        raise refused

    def send(_: str) -> None:
        raise refused

    refused = status(400)
    router = hedged()
    with pytest.raises(type(refused)) as caught:
        _ = router.run(send) if door == "run" else asyncio.run(router.arun(asend))
    assert caught.value is refused


def test_a_race_passes_over_a_target_at_which_too_many_calls_are_abandoned() -> None:
    router = hedged()
    attempt = begin(router)[1]
    attempt.state.workers.count(MAX_ABANDONED)
    assert router.run(str) == "b"
    assert trace(router)[0] == "attempt_failed a timeout"


def test_a_hedge_at_which_too_many_calls_are_abandoned_leaves_the_race_to_the_first() -> None:
    def send(client: str) -> str:
        while "attempt_failed b timeout" not in trace(router):
            time.sleep(0.001)
        return client

    router = hedged()
    second: Any = router.begin(preferred_target="b").next()
    second.state.workers.count(MAX_ABANDONED)
    assert router.run(send) == "a"


def test_the_streams_of_a_race_are_closed_when_content_cannot_be_told() -> None:
    closed = {"a": threading.Event(), "b": threading.Event()}

    def chunks(client: str) -> Iterator[str]:
        try:
            yield client
            yield "more"
        finally:
            closed[client].set()

    def is_content(_: str) -> bool:
        message = "no idea"
        raise LookupError(message)

    with pytest.raises(AllTargetsFailedError) as caught:
        list(hedged().stream(chunks, is_content=is_content))
    assert len(caught.value.exceptions) == 2  # these hold on to all that was read
    assert all(event.wait(PATIENCE) for event in closed.values())


# Sending


class Punctual:
    """A client that keeps to deadlines itself, and notes those it is told."""

    enforces_deadline = True

    def __init__(self) -> None:
        self.told: list[float | None] = []

    def run(self) -> str:
        self.told.append(current_deadline.get())
        return "answer"

    async def arun(self) -> str:
        return self.run()


@pytest.mark.parametrize("door", ["run", "arun"])
def test_a_client_that_keeps_to_deadlines_is_told_them_for_the_attempt_alone(
    fake_clock: FakeClock, door: str
) -> None:
    async def main() -> tuple[str, float | None]:
        if door == "run":
            return router.run(lambda client: client.run()), current_deadline.get()
        return await router.arun(lambda client: client.arun()), current_deadline.get()

    client = Punctual()
    router = Router([client], policy={"attempt_timeout": 5}, clock=fake_clock)
    assert asyncio.run(main()) == ("answer", None)
    assert client.told == [1_005.0]


async def test_the_opening_of_an_async_stream_is_timed_too() -> None:
    async def chunks(client: str) -> AsyncIterator[str]:
        yield client

    async def open_stream(client: str) -> AsyncIterator[str]:
        if client == "a":
            await asyncio.Event().wait()
        return chunks(client)

    router = Router(named("a", "b"), policy={"attempt_timeout": 0.05})
    async with asyncio.timeout(PATIENCE / 2):
        assert [chunk async for chunk in router.astream(open_stream)] == ["b"]


class Source:
    """An async stream whose iterator is another object; both note how often they are closed."""

    def __init__(self, closed: list[str], error: Exception | None = None) -> None:
        self._closed = closed
        self._error = error

    def __aiter__(self) -> AsyncIterator[str]:
        return Chunks(self._closed, self._error)

    def close(self) -> None:
        self._closed.append("source")


class Chunks(AsyncIterator[str]):
    def __init__(self, closed: list[str], error: Exception | None) -> None:
        self._closed = closed
        self._error = error
        self._left = 2

    async def __anext__(self) -> str:
        self._left -= 1
        if self._left < 0:
            raise StopAsyncIteration
        return "chunk"

    async def aclose(self) -> None:
        self._closed.append("iterator")
        if self._error:
            raise self._error


class Unclosable(AsyncIterator[str]):
    async def __anext__(self) -> str:
        raise StopAsyncIteration


@pytest.mark.parametrize("policy", [{}, {"idle_timeout": 5}])
@pytest.mark.parametrize("error", [None, REFUSED])
async def test_an_async_stream_and_its_iterator_are_closed_and_may_refuse_to_be(
    policy: dict[str, Any], error: Exception | None
) -> None:
    closed: list[str] = []
    router = Router(named("a"), policy=policy)
    stream = aiter(router.astream(lambda _: Source(closed, error)))
    assert await anext(stream) == "chunk"
    await stream.aclose()  # type: ignore[attr-defined]
    assert sorted(closed) == ["iterator", "source"]


async def test_an_async_stream_that_cannot_be_closed_may_end() -> None:
    router = Router(named("a"))
    assert [chunk async for chunk in router.astream(lambda _: Unclosable())] == []


class Reader:
    """An async stream whose iterator is an async generator."""

    def __init__(self) -> None:
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[str]:
        yield "chunk"

    def close(self) -> None:
        self.is_closed = True


async def test_an_async_stream_is_closed_although_its_iterator_has_ended() -> None:
    reader = Reader()
    assert [chunk async for chunk in Router(named("a")).astream(lambda _: reader)] == ["chunk"]
    assert reader.is_closed


async def test_an_async_stream_that_is_left_has_been_closed_when_its_reader_goes_on() -> None:
    closed, kept = list[str](), list[AsyncIterator[str]]()

    async def chunks() -> AsyncIterator[str]:
        try:
            yield "chunk"
            yield "more"
        finally:
            closed.append("closed")

    def send(_: str) -> AsyncIterator[str]:
        kept.append(chunks())
        return kept[-1]

    stream = aiter(Router(named("a")).astream(send))
    assert await anext(stream) == "chunk"
    await stream.aclose()  # type: ignore[attr-defined]
    assert closed == ["closed"]


@pytest.mark.parametrize(("replaces", "chunks"), [(True, "ab abc"), (False, "ab c")])
def test_chunks_that_replace_the_former_ones_are_not_joined_to_them(
    chunks: str, *, replaces: bool
) -> None:
    def send(client: str) -> Iterator[str]:
        if client == "b":
            yield "abc"
            return
        yield "ab"
        raise REFUSED

    resume = Resume(text=str, cut=lambda _chunk, text, _whole: text, replaces=replaces)
    router = Router(named("a", "b"), policy={"on_broken_stream": "resume"})
    assert " ".join(router.stream(send, resume=resume)) == chunks


# Threads


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> deque[Any]:
    """Let idle threads end at once; return those that are idle."""
    idle: deque[Any] = deque()
    monkeypatch.setattr(workers, "_IDLE", idle)
    monkeypatch.setattr(workers, "_IDLE_SECONDS", 0.01)
    return idle


def test_a_thread_that_has_been_idle_for_long_ends(impatient: deque[Any]) -> None:
    thread = Workers().call_within(threading.current_thread, PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not impatient
    assert Workers().call_within(threading.current_thread, PATIENCE) is not thread


def test_a_thread_whose_work_was_quick_is_not_counted(impatient: deque[Any]) -> None:
    some = Workers()
    thread = some.call_within(threading.current_thread, PATIENCE)
    thread.join(PATIENCE)
    assert some.abandoned == 0


def test_a_thread_that_is_taken_when_its_time_is_over_does_its_job(impatient: deque[Any]) -> None:
    done = threading.Event()
    in_thread(lambda: None)
    deadline = time.monotonic() + PATIENCE
    while not impatient and time.monotonic() < deadline:
        pass
    taken = impatient.pop()
    time.sleep(0.05)
    taken.jobs.put(done.set)
    assert done.wait(PATIENCE)


def test_a_thread_whose_work_took_too_long_is_counted_until_it_ends() -> None:
    go_on, some = threading.Event(), Workers()
    with pytest.raises(AttemptTimeoutError):
        some.call_within(lambda: go_on.wait(PATIENCE), 0.01)
    assert some.abandoned == 1
    go_on.set()
    deadline = time.monotonic() + PATIENCE
    while some.abandoned and time.monotonic() < deadline:
        time.sleep(0.001)
    assert some.abandoned == 0


def test_a_target_of_its_own_time_is_hedged_at_the_pools(pool: Callable[..., Router]) -> None:
    target = Target("client", name="a", attempt_timeout=5)
    assert begin(pool(target, "b", policy=HEDGE))[1].hedge_after == 0.01


def test_the_child_of_a_fork_has_neither_locks_nor_calls_nor_threads_of_its_parent() -> None:
    router = Router(named("a"), policy={"attempt_timeout": PATIENCE})
    attempt, held, over = begin(router)[1], threading.Event(), threading.Event()
    attempt.state.workers.count(MAX_ABANDONED)

    def hold() -> None:
        with router._pool.lock:
            held.set()
            over.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(PATIENCE)
    _renew_pools()
    found = router.status()["a"]
    assert (found.in_flight, found.abandoned, found.requests) == (0, 0, 1)
    assert router.run(str.upper) == "A"
    assert holder.is_alive()
    over.set()
    holder.join()
