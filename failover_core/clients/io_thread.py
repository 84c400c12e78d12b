"""The thread that carries the requests of a process: one event loop for every caller.

Connections belong to the event loop they were opened in. The callers' loops come and go
(``asyncio.run``, notebooks, LlamaIndex's bridges from sync to async) and sync callers have none.
So all requests run in one loop of our own, in a daemon thread that starts with the first of
them; a caller waits for the result in its own way. That costs a tenth of a millisecond and
needs one transport instead of two.

What goes from one thread to another goes through a mailbox: to wake a loop takes a system call
and a change of threads, and many requests at once need only one of each.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds the interpreter waits at its end for connections to be closed."""


class _Mailbox:
    """Has functions called in an event loop, from any thread, and wakes it once for many.

    It knows its loop only by a weak reference: it is kept as long as that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._functions: deque[Callable[[], object]] = deque()
        self._is_woken = False

    def put(self, function: Callable[[], object]) -> None:
        """Have a function called; one for a loop that is over is forgotten."""
        self._functions.append(function)
        loop = self._loop()
        if self._is_woken or loop is None:
            return
        try:
            self._is_woken = True
            loop.call_soon_threadsafe(self._empty)
        except RuntimeError:  # it is over
            return
        except BaseException:  # the user interrupted it: let the next one wake the loop
            self._is_woken = False
            raise

    def _empty(self) -> None:
        # First this: whoever adds to what has been looked at wakes the loop again.
        self._is_woken = False
        for _ in range(len(self._functions)):
            self._functions.popleft()()


class _IoThread:
    """An event loop that runs in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.mailbox = _Mailbox(self.loop)
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="failover-io", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            self.loop.close()


_lock = threading.Lock()
_running: _IoThread | None = None
_inherited: list[_IoThread] = []
_mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Mailbox]
_mailboxes = weakref.WeakKeyDictionary()


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in this process's I/O thread; cancelling the future cancels it."""
    future: Future[T] = Future()
    thread = _io_thread()
    thread.mailbox.put(partial(_start, thread, work, future, contextvars.copy_context()))
    return future


async def result_of(future: Future[T]) -> T:
    """Return the result of a future in the running loop; it is cancelled with the caller."""
    loop = asyncio.get_running_loop()
    if (mailbox := _mailboxes.get(loop)) is None:
        mailbox = _mailboxes[loop] = _Mailbox(loop)
    is_done = loop.create_future()
    future.add_done_callback(lambda _: mailbox.put(partial(_release, is_done)))
    try:
        await is_done
        return future.result()
    finally:
        future.cancel()


def _start(
    thread: _IoThread, work: Coroutine[Any, Any, T], future: Future[T], context: contextvars.Context
) -> None:
    task = thread.loop.create_task(_carry_out(work, future), context=context)
    task.add_done_callback(lambda _: work.close())  # it may be cancelled before it has begun

    def cancel(future: Future[T]) -> None:
        if future.cancelled():
            thread.mailbox.put(task.cancel)

    future.add_done_callback(cancel)


async def _carry_out(work: Coroutine[Any, Any, T], future: Future[T]) -> None:
    with suppress(InvalidStateError):  # cancelled in the other thread at the last moment
        try:
            future.set_result(await work)
        except asyncio.CancelledError:
            future.cancel()
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            future.set_exception(error)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _io_thread() -> _IoThread:
    global _running  # noqa: PLW0603 - one per process is the point
    if _running is None:
        with _lock:
            if _running is None:
                _running = _IoThread()
    return _running


def _forget_after_fork() -> None:
    """Leave the loop to the parent, whose thread runs it; the child gets its own."""
    global _running, _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _mailboxes.clear()
    if _running is not None:
        # Nothing of the parent's may be closed here, and nobody needs to hear that it is not.
        _running.loop.set_exception_handler(lambda *_: None)
        _inherited.append(_running)
        _running = None


def _stop_at_exit() -> None:
    if _running is not None:
        _running.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
atexit.register(_stop_at_exit)
