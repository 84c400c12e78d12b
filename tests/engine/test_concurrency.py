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
from tests.figures import Figure, size

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_storm_of_cancellations_leaks_no_permit_and_moves_no_breaker(
    figure: Figure, *, streaming: bool
) -> None:
    """Nine of ten are cancelled at a random turn, before which some of them have ended."""
    number = size(ci=5_000, full=10_000)
    dice = random.Random(5)
    router = Router(named("a", "b"), policy={"total_timeout": 60})
    turns = [asyncio.Event() for _ in range(20)]

    async def send(client: Any) -> Any:
        await dice.choice(turns).wait()
        return client

    async def chunks(client: Any) -> AsyncIterator[Any]:
        for _ in range(3):
            await dice.choice(turns[:15]).wait()
            yield client

    async def one() -> None:
        if streaming:
            assert [chunk async for chunk in router.astream(chunks)]
        else:
            await router.arun(send)

    tasks = [asyncio.create_task(one()) for _ in range(number)]
    victims = [task for place, task in enumerate(tasks) if place % 10]
    for place, turn in enumerate(turns):
        for task in victims[place :: len(turns)]:
            task.cancel()
        turn.set()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    cancelled = sum(isinstance(result, asyncio.CancelledError) for result in results)
    status = router.status()
    figure(
        "cancel storm",
        tasks=number,
        cancelled=cancelled,
        permits_leaked=sum(target.in_flight for target in status.targets),
        breakers_moved=sum(target.state != "closed" for target in status.targets),
    )
    assert 0.4 * number < cancelled < 0.8 * number
    assert all(result is None for result in results[::10])
    assert [target.in_flight for target in status.targets] == [0, 0]
    assert [target.state for target in status.targets] == ["closed", "closed"]
    assert [target.failures for target in status.targets] == [0, 0]
    assert (status.succeeded, status.failed) == (number - cancelled, 0)


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


@pytest.mark.timeout(300)
def test_a_thousand_threads_keep_exact_counts(figure: Figure) -> None:
    threads, calls = 1_000, size(ci=40, full=1_000)
    tolerant = {"consecutive_failures": 10**9, "minimum_calls": 10**9}
    router = Router(named("a", "b"), policy={"breaker": tolerant})
    together = threading.Barrier(threads)

    def worker(_: int) -> int:
        failing = True

        def behave(client: str) -> str:
            if client == "a" and failing:
                raise REFUSED
            return client

        together.wait(60)
        served_by_b = 0
        for number in range(calls):
            failing = number % 10 == 0
            served_by_b += router.run(behave) == "b"
        return served_by_b

    with ThreadPoolExecutor(threads) as workers:
        served_by_b = sum(workers.map(worker, range(threads)))
    status = router.status()
    total, moved = threads * calls, threads * calls // 10
    counts = {
        "answers of b": (served_by_b, moved),
        "requests": (status.requests, total),
        "succeeded": (status.succeeded, total),
        "failed over": (status.failed_over, moved),
        "sends to a": (status["a"].requests, total),
        "failures of a": (status["a"].failures, moved),
        "sends to b": (status["b"].requests, moved),
        "failures of b": (status["b"].failures, 0),
        "in flight at a": (status["a"].in_flight, 0),
        "in flight at b": (status["b"].in_flight, 0),
    }
    wrong = {name: found for name, found in counts.items() if found[0] != found[1]}
    figure("threads", threads=threads, calls=total, wrong_counters=len(wrong))
    assert not wrong


def test_the_lock_is_not_held_while_a_target_works() -> None:
    router = Router(named("a"))
    together = threading.Barrier(32)

    def behave(_: Any) -> int:
        return together.wait(10)

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda _: router.run(behave), range(32)))
    assert len(set(answers)) == 32


def test_one_router_serves_a_hundred_event_loops(figure: Figure) -> None:
    router = Router(named("a", "b"), policy={"total_timeout": 60, "idle_timeout": 5})
    doors = [Doors(), Doors()]
    for _ in range(100):
        assert asyncio.run(router.arun(_name)) in {"a", "b"}
    for each in doors:
        assert each.astream(router, str.upper) == "A"
        each.close()
    figure("loops and forks", loops=102, errors=router.status().failed)
    assert router.status().failed == 0


async def _name(client: str) -> str:
    await asyncio.sleep(0)
    return client


def test_two_threads_with_two_loops_each_share_one_router(figure: Figure) -> None:
    router = Router(named("a", "b"), policy={"total_timeout": 60})

    async def many() -> list[str]:
        return await asyncio.gather(*(router.arun(_name) for _ in range(200)))

    def work(_: int) -> list[str]:
        return asyncio.run(many()) + asyncio.run(many())

    with ThreadPoolExecutor(2) as threads:
        answers = [answer for batch in threads.map(work, range(2)) for answer in batch]
    figure("loops and forks", loops=4, errors=800 - len(answers))
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
def test_children_forked_while_another_thread_holds_the_locks_serve_calls(
    figure: Figure,
) -> None:
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
        served = [_in_child(work) for _ in range(8)]
    finally:
        done.set()
        holder.join()
    router.close()
    figure("loops and forks", forks=8, errors=served.count(False))
    assert all(served)


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_children_forked_at_any_moment_of_busy_threads_serve_calls(figure: Figure) -> None:
    router = Router(named("a", "b"), policy={"attempt_timeout": 5})
    over = threading.Event()

    def keep_busy() -> None:
        while not over.is_set():
            router.run(str.upper)

    threads = [threading.Thread(target=keep_busy) for _ in range(4)]
    for thread in threads:
        thread.start()

    def work() -> bool:
        served = all(router.run(str.upper) == "A" for _ in range(50))
        return served and router.status()["a"].in_flight == 0

    try:
        served = [_in_child(work) for _ in range(8)]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    figure("loops and forks", forks=8, errors=served.count(False))
    assert all(served)


@needs_fork
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_calls_in_flight_at_a_fork_are_the_parents() -> None:
    router = Router(named("a"))

    def behave(_: Any) -> bool:
        return _in_child(lambda: router.status()["a"].in_flight == 0 and bool(router.run(len)))

    assert router.run(behave)
    assert router.status()["a"].in_flight == 0
