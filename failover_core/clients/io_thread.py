"""The thread that carries the requests of a process: one event loop for every caller.

Connections belong to the event loop they were opened in. The callers' loops come and go
(``asyncio.run``, notebooks, LlamaIndex's bridges from sync to async) and sync callers have none.
So all requests run in one loop of our own, in a daemon thread that starts with the first of
them; a caller waits for the result in its own way. That costs a tenth of a millisecond and
needs one transport instead of two.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds the interpreter waits at its end for connections to be closed."""


class _IoThread:
    """An event loop that runs in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
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


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Run a coroutine in this process's I/O thread."""
    return asyncio.run_coroutine_threadsafe(work, _io_thread().loop)


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
