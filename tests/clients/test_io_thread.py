"""What goes from one thread to another: nothing is lost, and a loop is woken once for many."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest

from failover_core.clients.io_thread import _io_thread, _Mailbox, result_of, submit


class Loop(asyncio.SelectorEventLoop):
    """Counts how often it is woken, and may interrupt whoever does so first."""

    interrupts = 0
    woken = 0

    def call_soon_threadsafe(self, callback: Any, *args: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        self.woken += 1
        if self.woken <= self.interrupts:
            raise KeyboardInterrupt
        return super().call_soon_threadsafe(callback, *args, **options)


@pytest.fixture
def loop() -> Iterator[Loop]:
    with closing(Loop()) as loop:
        yield loop


def run_once(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(asyncio.sleep(0))


def test_a_loop_is_woken_once_for_all_that_waits_for_it(loop: Loop) -> None:
    done: list[int] = []
    mailbox = _Mailbox(loop)
    for number in range(10):
        mailbox.put(partial(done.append, number))
    run_once(loop)
    assert done == list(range(10))
    assert loop.woken == 1
    mailbox.put(lambda: done.append(10))
    run_once(loop)
    assert (done[-1], loop.woken) == (10, 2)


def test_after_an_interrupt_the_next_one_wakes_the_loop(loop: Loop) -> None:
    done: list[int] = []
    mailbox = _Mailbox(loop)
    loop.interrupts = 1
    with pytest.raises(KeyboardInterrupt):
        mailbox.put(lambda: done.append(1))
    mailbox.put(lambda: done.append(2))
    run_once(loop)
    assert done == [1, 2]


def test_what_is_put_for_a_loop_that_is_over_is_forgotten() -> None:
    loop = asyncio.new_event_loop()
    mailbox = _Mailbox(loop)
    loop.close()
    mailbox.put(pytest.fail)
    mailbox.put(pytest.fail)


async def test_every_result_comes_back_to_the_loop_and_thread_that_waits_for_it() -> None:
    counts: Counter[int] = Counter()

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        counts[number] += 1
        return number

    async def many(start: int) -> list[int]:
        return await asyncio.gather(*(result_of(submit(work(start + n))) for n in range(200)))

    def sync(start: int) -> list[int]:
        return [submit(work(start + n)).result() for n in range(200)]

    results = await asyncio.gather(
        many(0), asyncio.to_thread(sync, 200), asyncio.to_thread(asyncio.run, many(400))
    )
    assert [number for result in results for number in result] == list(range(600))
    assert set(counts.values()) == {1}


async def test_a_cancelled_caller_cancels_the_work() -> None:
    has_begun, is_cancelled = threading.Event(), threading.Event()

    async def work() -> None:
        has_begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            is_cancelled.set()
            raise

    caller = asyncio.ensure_future(result_of(submit(work())))
    assert await asyncio.to_thread(has_begun.wait, 5)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await asyncio.to_thread(is_cancelled.wait, 5)


def test_what_is_cancelled_before_it_begins_is_closed() -> None:
    mailbox = _io_thread().mailbox
    is_full = threading.Event()
    mailbox.put(is_full.wait)
    mailbox.put(partial(mailbox.put, int))  # the mailbox is emptied again before tasks begin
    work = asyncio.sleep(60)
    submit(work).cancel()
    is_full.set()
    for _ in range(2):
        submit(asyncio.sleep(0)).result()
    assert inspect.getcoroutinestate(work) == inspect.CORO_CLOSED
