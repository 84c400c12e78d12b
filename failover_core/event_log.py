"""Where events go: a bounded history, rate-limited log lines, and subscribers."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from failover_core.events import EventKind, FailoverEvent

logger = logging.getLogger("failover_core")

Subscriber = Callable[[FailoverEvent], Any]
"""A function, or an async function, that receives each event."""

_LOG_INTERVAL = 10.0
"""Seconds between two log lines about the same thing at the same target."""

_CLOSING = 5.0
"""Seconds that closing waits for subscribers."""

_LEVELS = {
    EventKind.EJECTED: logging.WARNING,
    EventKind.EXHAUSTED: logging.WARNING,
    EventKind.DEGRADED: logging.WARNING,
    EventKind.SPACE_MISMATCH: logging.ERROR,
    EventKind.RECOVERED: logging.INFO,
    EventKind.SWITCHED: logging.INFO,
    EventKind.THROTTLED: logging.INFO,
    EventKind.FAILED_OVER: logging.INFO,
}


class EventLog:
    """The events of one pool: iterate over it for the newest ``size``, oldest first.

    Args:
        size: events that are kept.
    """

    def __init__(self, size: int = 1000) -> None:
        self._history: deque[FailoverEvent] = deque(maxlen=size)
        self._log = _RateLimitedLog()
        self._mailroom = _Mailroom(size)

    def publish(self, event: FailoverEvent) -> None:
        """Keep, log and deliver an event. Never blocks on a subscriber, never raises for one."""
        self._history.append(event)
        self._log.write(event)
        self._mailroom.post(event)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with each event from now on; return a function that ends it.

        Subscribers run one after the other in a thread of their own. What they raise is
        logged; when they fall more than ``size`` events behind, the newest are dropped.
        """
        self._mailroom.subscribers.append(subscriber)
        return lambda: self._mailroom.unsubscribe(subscriber)

    def flush(self) -> None:
        """Wait until every event published so far has been delivered."""
        self._mailroom.flush()

    def close(self) -> None:
        """Deliver what is left, for five seconds at the most, and end the delivering thread."""
        self._mailroom.close()

    def __iter__(self) -> Iterator[FailoverEvent]:
        return iter(tuple(self._history))

    def __len__(self) -> int:
        return len(self._history)


class _RateLimitedLog:
    """One line per kind and target in ten seconds, with the number of those left out."""

    def __init__(self) -> None:
        self._written: dict[tuple[EventKind, str | None], tuple[float, int]] = {}

    def write(self, event: FailoverEvent) -> None:
        level = _LEVELS.get(event.kind, logging.DEBUG)
        if not logger.isEnabledFor(level):
            return
        key = (event.kind, event.target or event.to_target)
        last, left_out = self._written.get(key, (float("-inf"), 0))
        if 0 <= event.time - last < _LOG_INTERVAL:
            self._written[key] = (last, left_out + 1)
            return
        self._written[key] = (event.time, 0)
        more = f" ({left_out} more like this were not logged)" if left_out else ""
        logger.log(level, "%s%s", event, more)


class _Mailroom:
    """Hands events to subscribers in a daemon thread that starts with the first of them."""

    def __init__(self, size: int) -> None:
        self.subscribers: list[Subscriber] = []
        self._size = size
        self.renew()
        _MAILROOMS.add(self)

    def renew(self) -> None:
        """Start empty, as after a fork: it copies locks that another thread may have held."""
        self._queue: queue.Queue[FailoverEvent | threading.Event | None] = queue.Queue(self._size)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        weakref.finalize(self, _stop, self._queue)

    def post(self, event: FailoverEvent) -> None:
        if not self.subscribers:
            return
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            logger.debug("subscribers are too slow; an event was dropped")
        self._start()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)

    def flush(self) -> None:
        if self._thread is None:
            return
        self._start()
        delivered = threading.Event()
        self._queue.put(delivered)
        delivered.wait()

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            try:
                self._queue.put(None, timeout=_CLOSING)
            except queue.Full:
                _stop(self._queue)
            else:
                thread.join(_CLOSING)

    def _start(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=_deliver,
                    args=(self._queue, self.subscribers),
                    name="failover-events",
                    daemon=True,
                )
                self._thread.start()


def _deliver(
    inbox: queue.Queue[FailoverEvent | threading.Event | None], subscribers: list[Subscriber]
) -> None:
    with asyncio.Runner() as runner:
        while (item := inbox.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
                continue
            for subscriber in tuple(subscribers):
                try:
                    result = subscriber(item)
                    if inspect.iscoroutine(result):
                        runner.run(result)
                except Exception:
                    logger.exception("a subscriber to failover events raised")


def _stop(inbox: queue.Queue[FailoverEvent | threading.Event | None]) -> None:
    """Let the thread end after what it is doing; an inbox that is full loses its oldest."""
    while True:
        try:
            return inbox.put_nowait(None)
        except queue.Full:
            with contextlib.suppress(queue.Empty):
                oldest = inbox.get_nowait()
                if isinstance(oldest, threading.Event):
                    oldest.set()


_MAILROOMS: weakref.WeakSet[_Mailroom] = weakref.WeakSet()


def _renew_mailrooms() -> None:
    for mailroom in tuple(_MAILROOMS):
        mailroom.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_mailrooms)
