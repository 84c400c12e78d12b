"""Cancellation, threads, event loops and forks: every permit returns, every count is exact."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from failover_core import Router
from tests.engine.doors import REFUSED, Doors, named

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_storm_of_cancellations_leaks_no_permit_and_moves_no_breaker(
    *, streaming: bool
) -> None:
    dice = random.Random(5)
    router = Router(named("a", "b"), policy={"total_timeout": 60})

    async def send(client: Any) -> Any:
        await asyncio.sleep(dice.uniform(0, 0.05))
        return client

    async def chunks(client: Any) -> AsyncIterator[Any]:
        for _ in range(3):
            await asyncio.sleep(dice.uniform(0, 0.02))
            yield client

    async def one() -> None:
        if streaming:
            assert [chunk async for chunk in router.astream(chunks)]
        else:
            await router.arun(send)

    tasks = [asyncio.create_task(one()) for _ in range(5_000)]
    for task in tasks[::2]:
        asyncio.get_running_loop().call_later(dice.uniform(0, 0.05), task.cancel)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
    assert cancelled > 500
    assert all(result is None for result in results[1::2])
    status = router.status()
    assert [target.in_flight for target in status.targets] == [0, 0]
    assert [target.state for target in status.targets] == ["closed", "closed"]
    assert (status.succeeded, status.failed) == (5_000 - cancelled, 0)


async def test_a_cancelled_probe_lets_the_next_call_probe(
    pool: Callable[..., Router], fake_clock: Any
) -> None:
    router = pool("a", "b", policy={"breaker": {"consecutive_failures": 1}})

    async def failing(client: Any) -> str:
        if client.name == "a":
            raise REFUSED
        return "b"

    async def hanging(client: Any) -> str:
        await asyncio.sleep(60)
        return "late"

    async def healthy(client: Any) -> str:
        return str(client.name)

    await router.arun(failing)
    fake_clock.advance(5)
    probe = asyncio.create_task(router.arun(hanging))
    await asyncio.sleep(0)
    assert await router.arun(healthy) == "b"
    probe.cancel()
    await asyncio.wait([probe])
    assert await router.arun(healthy) == "a"


def test_64_threads_keep_exact_counts() -> None:
    tolerant = {"consecutive_failures": 10**9, "minimum_calls": 10**9}
    router = Router(named("a", "b"), policy={"breaker": tolerant})
    failing = threading.local()

    def behave(client: str) -> str:
        number: int = failing.number
        if client == "a" and number % 4 == 0:
            raise REFUSED
        return client

    def worker(_: int) -> list[str]:
        answers = []
        for failing.number in range(200):
            answers.append(router.run(behave))
        return answers

    with ThreadPoolExecutor(64) as threads:
        answers = [answer for batch in threads.map(worker, range(64)) for answer in batch]
    status = router.status()
    assert (answers.count("a"), answers.count("b")) == (9_600, 3_200)
    assert (status.requests, status.succeeded, status.failed_over) == (12_800, 12_800, 3_200)
    assert (status["a"].requests, status["a"].failures) == (12_800, 3_200)
    assert (status["b"].requests, status["b"].failures) == (3_200, 0)
    assert [target.in_flight for target in status.targets] == [0, 0]


def test_the_lock_is_not_held_while_a_target_works() -> None:
    router = Router(named("a"))
    together = threading.Barrier(32)

    def behave(_: Any) -> int:
        return together.wait(10)

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda _: router.run(behave), range(32)))
    assert len(set(answers)) == 32


def test_one_router_serves_a_hundred_event_loops() -> None:
    router = Router(named("a", "b"), policy={"total_timeout": 60, "idle_timeout": 5})
    doors = [Doors(), Doors()]
    for _ in range(100):
        assert asyncio.run(router.arun(_name)) in {"a", "b"}
    for each in doors:
        assert each.astream(router, str.upper) == "A"
        each.close()
    assert router.status().failed == 0


async def _name(client: str) -> str:
    await asyncio.sleep(0)
    return client


def test_two_threads_with_two_loops_each_share_one_router() -> None:
    router = Router(named("a", "b"), policy={"total_timeout": 60})

    async def many() -> list[str]:
        return await asyncio.gather(*(router.arun(_name) for _ in range(200)))

    def work(_: int) -> list[str]:
        return asyncio.run(many()) + asyncio.run(many())

    with ThreadPoolExecutor(2) as threads:
        answers = [answer for batch in threads.map(work, range(2)) for answer in batch]
    assert len(answers) == 800
    assert router.status()["a"].in_flight == 0


async def test_a_sync_call_works_while_a_loop_runs() -> None:
    router = Router(named("a"), policy={"total_timeout": 60})
    assert router.run(str.upper) == "A"


def _in_child(work: Callable[[], bool]) -> bool:
    """Return what ``work`` returns in a forked child; False if it hangs or dies."""
    child = os.fork()
    if child == 0:
        ok = False
        try:
            ok = work()
        finally:
            os._exit(0 if ok else 1)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        ended, code = os.waitpid(child, os.WNOHANG)
        if ended:
            return code == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_while_another_thread_holds_the_locks_serves_calls() -> None:
    router = Router(named("a", "b"), policy={"attempt_timeout": 5})
    heard: list[Any] = []
    router.events.subscribe(heard.append)
    router.switch("b")
    router.events.flush()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with router._pool.lock, router.events._mailroom._queue.mutex:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)

    def work() -> bool:
        before = len(heard)
        served = router.run(str.upper) == "B" and list(router.stream(iter)) == ["b"]
        router.switch("a")
        router.events.flush()
        return served and len(heard) == before + 1 and router.status()["b"].in_flight == 0

    try:
        assert _in_child(work)
    finally:
        done.set()
        holder.join()
    router.close()


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_calls_in_flight_at_a_fork_are_the_parents() -> None:
    router = Router(named("a"))

    def behave(_: Any) -> bool:
        return _in_child(lambda: router.status()["a"].in_flight == 0 and bool(router.run(len)))

    assert router.run(behave)
    assert router.status()["a"].in_flight == 0
