"""Hedged calls, as they run: who serves, what becomes of the other one."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, Router, Target
from failover_core.testing import FaultServer, faults
from failover_core.testing.fixtures import fault_servers
from langchain_failover import FailoverChatModel, FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding
from tests.engine.doors import REFUSED, Doors, status, trace

__all__ = ["fault_servers"]

HEDGE: dict[str, Any] = {"hedge": {"after": 0.02, "budget": 1}}
PATIENCE = 10
ASYNC = ("arun", "astream")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread may bring about."""
    while not condition():  # noqa: ASYNC110 - no event of this loop
        await asyncio.sleep(0.001)


class Stalling:
    """A client that answers, or fails, only when it is told to go on; by every door.

    Attributes:
        ended: how its latest attempt ended: "answered", or the name of its exception.
    """

    def __init__(self, name: str, end: str | Exception | None = None) -> None:
        self.name = name
        self.go_on = threading.Event()
        self.asked = threading.Event()
        self.finished = threading.Event()
        self.ended = ""
        self._end = name if end is None else end

    def run(self) -> Any:
        self.asked.set()
        assert self.go_on.wait(PATIENCE)
        return self._answer()

    async def arun(self) -> Any:
        self.asked.set()
        try:
            await until(self.go_on.is_set)
        except BaseException as error:
            self._finish(type(error).__name__)
            raise
        return self._answer()

    def stream(self) -> Iterator[Any]:
        yield self.run()
        yield "!"

    async def astream(self) -> AsyncIterator[Any]:
        yield await self.arun()
        yield "!"

    def _answer(self) -> Any:
        self._finish("answered")
        if isinstance(self._end, Exception):
            raise self._end
        return self._end

    def _finish(self, word: str) -> None:
        self.ended = word
        self.finished.set()


def ready(name: str, end: str | Exception | None = None) -> Stalling:
    client = Stalling(name, end)
    client.go_on.set()
    return client


def call(door: str, router: Router) -> Any:
    """Return the answer of a call through a door; a stream's chunks joined."""
    if door == "run":
        return router.run(lambda client: client.run())
    if door == "stream":
        return "".join(router.stream(lambda client: client.stream())).rstrip("!")
    if door == "arun":
        return asyncio.run(_settled(router.arun(lambda client: client.arun())))

    async def collect() -> str:
        return "".join([chunk async for chunk in router.astream(lambda client: client.astream())])

    return asyncio.run(_settled(collect())).rstrip("!")


async def _settled(work: Any) -> Any:
    """Await something; then no other task may be left for long."""
    result = await work
    for _ in range(1_000):
        if len(asyncio.all_tasks()) == 1:
            return result
        await asyncio.sleep(0.001)
    raise AssertionError(asyncio.all_tasks())


each_door = pytest.mark.parametrize("door", Doors.names)


@each_door
def test_when_the_first_target_is_slow_a_second_one_answers(door: str) -> None:
    slow, quick = Stalling("slow"), ready("quick")
    router = Router([slow, quick], policy=HEDGE)
    assert call(door, router) == "quick"
    assert trace(router) == ["hedged slow->quick"]
    found = router.status()
    assert (found["slow"].in_flight, found["slow"].failures, found["slow"].state) == (
        0,
        0,
        "closed",
    )
    assert (found.succeeded, found.failed) == (1, 0)
    slow.go_on.set()


@each_door
def test_a_quick_answer_is_not_hedged(door: str) -> None:
    router = Router([ready("a"), ready("b")], policy=HEDGE)
    for _ in range(20):
        assert call(door, router) == "a"
    assert trace(router) == []
    assert router.status()["b"].requests == 0


@pytest.mark.parametrize("door", ASYNC)
def test_an_async_loser_is_cancelled(door: str) -> None:
    slow = Stalling("slow")
    assert call(door, Router([slow, ready("quick")], policy=HEDGE)) == "quick"
    assert slow.finished.wait(PATIENCE)
    assert slow.ended in {"CancelledError", "GeneratorExit"}


@pytest.mark.parametrize("door", ["run", "stream"])
def test_a_synchronous_loser_is_abandoned_and_counted_until_it_ends(door: str) -> None:
    slow = Stalling("slow")
    router = Router([slow, ready("quick")], policy=HEDGE)
    assert call(door, router) == "quick"
    assert router.status()["slow"].abandoned == 1
    slow.go_on.set()
    assert slow.finished.wait(PATIENCE)
    while router.status()["slow"].abandoned:
        time.sleep(0.001)


@each_door
def test_a_hedge_that_fails_does_not_hurt_the_first(door: str) -> None:
    slow, failing = Stalling("slow"), ready("failing", REFUSED)
    router = Router([slow, failing], policy=HEDGE)

    def direct() -> None:
        while "attempt_failed failing connection" not in trace(router):
            time.sleep(0.001)
        slow.go_on.set()

    threading.Thread(target=direct).start()
    assert call(door, router) == "slow"
    assert trace(router) == ["hedged slow->failing", "attempt_failed failing connection"]


@each_door
def test_a_first_that_fails_leaves_the_call_to_its_hedge(door: str) -> None:
    failing, slow = Stalling("failing", REFUSED), Stalling("slow")
    router = Router([failing, slow], policy=HEDGE)

    def direct() -> None:
        assert slow.asked.wait(PATIENCE)
        failing.go_on.set()
        while not router.status()["failing"].failures:
            time.sleep(0.001)
        slow.go_on.set()

    threading.Thread(target=direct).start()
    assert call(door, router) == "slow"
    assert router.status()["failing"].failures == 1


@each_door
def test_when_both_fail_a_third_target_serves(door: str) -> None:
    first, second = Stalling("first", REFUSED), Stalling("second", REFUSED)
    router = Router([first, second, ready("third")], policy=HEDGE)

    def direct() -> None:
        assert second.asked.wait(PATIENCE)
        first.go_on.set()
        second.go_on.set()

    threading.Thread(target=direct).start()
    assert call(door, router) == "third"
    assert [target.in_flight for target in router.status().targets] == [0, 0, 0]


@each_door
def test_a_wrong_request_ends_both_at_once(door: str) -> None:
    wrong = status(400)
    slow = Stalling("slow")
    router = Router([slow, ready("strict", wrong)], policy=HEDGE)
    with pytest.raises(type(wrong)) as caught:
        call(door, router)
    assert caught.value is wrong
    found = router.status()
    assert [target.in_flight for target in found.targets] == [0, 0]
    assert found["slow"].failures == 0
    slow.go_on.set()


@each_door
def test_without_a_second_target_that_is_ready_the_first_is_waited_for(door: str) -> None:
    slow, other = Stalling("slow"), ready("other")
    router = Router([slow, other], policy=HEDGE)
    router.disable("other")
    timer = threading.Timer(0.1, slow.go_on.set)
    timer.start()
    assert call(door, router) == "slow"
    assert trace(router) == []


@each_door
def test_each_attempt_keeps_its_own_timeout(door: str) -> None:
    router = Router([Stalling("a"), Stalling("b")], policy={**HEDGE, "attempt_timeout": 0.1})
    with pytest.raises(AllTargetsFailedError) as caught:
        call(door, router)
    assert caught.value.error_class == "timeout"
    assert [target.in_flight for target in router.status().targets] == [0, 0]
    for target in router.targets:
        target.client.go_on.set()


@pytest.mark.parametrize("door", ASYNC)
async def test_a_cancelled_call_cancels_both(door: str) -> None:
    first, second = Stalling("first"), Stalling("second")
    router = Router([first, second], policy=HEDGE)

    async def ask() -> Any:
        if door == "arun":
            return await router.arun(lambda client: client.arun())
        return [chunk async for chunk in router.astream(lambda client: client.astream())]

    task = asyncio.create_task(ask())
    await until(second.asked.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(first.finished.is_set)
    await until(second.finished.is_set)
    found = router.status()
    assert [(target.in_flight, target.failures) for target in found.targets] == [(0, 0)] * 2
    assert found.failed == 0


async def test_a_call_that_was_hedged_leaves_its_task_as_it_was() -> None:
    router = Router([Stalling("slow"), ready("quick")], policy=HEDGE)
    task = asyncio.current_task()
    assert task is not None
    for _ in range(5):
        assert await router.arun(lambda client: client.arun()) == "quick"
        assert task.cancelling() == 0
        async with asyncio.timeout(PATIENCE):
            await asyncio.sleep(0)


@pytest.mark.parametrize("door", ["stream", "astream"])
def test_the_stream_of_a_hedge_is_read_to_its_end_and_closed(door: str) -> None:
    class Long(Stalling):
        def stream(self) -> Iterator[str]:
            try:
                yield from map(str, range(50))
            finally:
                self._finish("closed")

        async def astream(self) -> AsyncIterator[str]:
            try:
                for number in range(50):
                    yield str(number)
                    await asyncio.sleep(0)
            finally:
                self._finish("closed")

    slow, long = Stalling("slow"), Long("long")
    router = Router([slow, long], policy=HEDGE)
    assert call(door, router) == "".join(map(str, range(50)))
    assert long.finished.wait(PATIENCE)
    slow.go_on.set()


async def test_a_hedges_stream_that_is_left_is_closed() -> None:
    closed = asyncio.Event()

    async def endless(client: str) -> AsyncIterator[str]:
        if client == "slow":
            await asyncio.sleep(PATIENCE)
        try:
            while True:
                yield client
                await asyncio.sleep(0)
        finally:
            closed.set()

    router = Router([Target("slow"), Target("quick")], policy=HEDGE)
    chunks = router.astream(endless)
    assert await anext(chunks) == "quick"
    await chunks.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(PATIENCE):
        await closed.wait()
    assert [target.in_flight for target in router.status().targets] == [0, 0]


@each_door
def test_both_attempts_see_the_callers_context(door: str) -> None:
    variable = contextvars.ContextVar("variable", default="nothing")
    seen: dict[str, str] = {}

    class Looking(Stalling):
        def run(self) -> Any:
            seen[self.name] = variable.get()
            return super().run()

        async def arun(self) -> Any:
            seen[self.name] = variable.get()
            return await super().arun()

    slow, quick = Looking("slow"), Looking("quick")
    quick.go_on.set()
    router = Router([slow, quick], policy=HEDGE)
    variable.set("mine")
    assert call(door, router) == "quick"
    assert seen == {"slow": "mine", "quick": "mine"}
    slow.go_on.set()


def test_calls_use_the_same_threads_again_and_again() -> None:
    router = Router([ready("a"), ready("b")], policy=HEDGE)
    before = threading.active_count()
    for _ in range(50):
        call("run", router)
        call("stream", router)
    assert threading.active_count() <= before + 4


@pytest.fixture
def two_servers(fault_servers: Callable[..., list[FaultServer]]) -> list[FaultServer]:
    """Return a server that takes its time, and one that does not."""
    slow, quick = fault_servers(2, dimension=8)
    slow.fault = faults.Slow(5)
    return [slow, quick]


def urls(servers: list[FaultServer], path: str = "") -> list[str]:
    return [server.url + path for server in servers]


def test_hedged_embeddings_come_from_the_second_server(two_servers: list[FaultServer]) -> None:
    langchain = FailoverEmbeddings.from_urls(urls(two_servers), model="m", policy=HEDGE)
    llamaindex = FailoverEmbedding.from_urls(urls(two_servers), model="m", policy=HEDGE)
    assert len(langchain.embed_query("a")) == 8
    assert len(llamaindex.get_query_embedding("a")) == 8
    for owner in (langchain, llamaindex):
        assert [event.kind for event in owner.router.events] == ["hedged"]
        owner.router.close()


async def test_hedged_chat_comes_from_the_second_server(two_servers: list[FaultServer]) -> None:
    chat = FailoverChatModel.from_urls(urls(two_servers, "/v1"), model="m", policy=HEDGE)
    answer = await chat.ainvoke("hello")
    assert answer.response_metadata["failover"]["target"] == chat.router.targets[1].name
    chunks = [chunk async for chunk in chat.astream("hello")]
    assert chunks[-1].response_metadata["failover"]["target"] == chat.router.targets[1].name
    assert [event.kind for event in chat.router.events] == ["hedged", "hedged"]
