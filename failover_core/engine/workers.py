"""Time limits for synchronous work that cannot be interrupted.

Such work runs in a daemon thread (with the caller's context variables) and is abandoned when
its time is over. Each target's abandoned threads are counted, and no more are risked at it above
a cap, so that one hung target uses up nothing that another needs. They are daemons, so a hung
server never keeps the interpreter from ending; that is why this is not a ``ThreadPoolExecutor``,
which joins its threads at exit.
"""

from __future__ import annotations

import contextlib
import contextvars
import inspect
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Generic, TypeVar

from failover_core.errors import AttemptTimeoutError
from failover_core.finishing import is_finished

T = TypeVar("T")

logger = logging.getLogger("failover_core")

MAX_ABANDONED = 64
"""Abandoned calls of a target that may still run before no more are started there."""

_IDLE_SECONDS = 5.0
"""Seconds after which a thread without a job ends."""

_END = object()


class _Thread:
    """A daemon thread that does one job after the other, and ends when it has been idle for long.

    Starting a thread takes several times as long as handing a job to one.
    """

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="failover-worker", daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with contextlib.suppress(ValueError):
                    _IDLE.remove(self)
                    return
                continue  # somebody has just taken it
            job()
            del job  # an idle thread keeps nobody's request
            _IDLE.append(self)


_IDLE: deque[_Thread] = deque()
"""Threads without a job. Taking, adding and removing are atomic."""


def in_thread(job: Callable[[], object]) -> None:
    """Do a job in a daemon thread, with the caller's context variables."""
    try:
        thread = _IDLE.pop()
    except IndexError:
        thread = _Thread()
    thread.jobs.put(partial(contextvars.copy_context().run, job))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_IDLE.clear)  # a child has none of its parent's threads


class Workers:
    """The threads of one target's calls.

    Attributes:
        abandoned: calls that outlived their time and still run.
    """

    def __init__(self) -> None:
        self.abandoned = 0
        self._lock = threading.Lock()

    def call_within(self, work: Callable[[], T], seconds: float) -> T:
        """Return what ``work()`` returns.

        Raises:
            AttemptTimeoutError: it took longer than ``seconds``, or too many are abandoned already.
        """
        worker = self._start()
        try:
            return worker.do(work, seconds)
        finally:
            worker.stop()

    def iterate_within(
        self, open_source: Callable[[], Iterable[T]], silence: Callable[[], float | None]
    ) -> Iterator[T]:
        """Yield from ``open_source()``, each item within the seconds that ``silence()`` then gives.

        Raises:
            AttemptTimeoutError: an item took longer (of a stream that is not complete yet), or too
                many are abandoned already.
        """
        worker = self._start()
        opened: list[Any] = []

        def take() -> T | object:
            if not opened:
                source = open_source()
                opened.extend((iter(source), source))
            return next(opened[0], _END)

        try:
            while (item := worker.do(take, silence())) is not _END:
                yield item  # type: ignore[misc]
        except AttemptTimeoutError:
            if not any(map(is_finished, opened)):
                raise
        finally:
            worker.stop(lambda: close_quietly(*opened))

    def send(
        self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], object]
    ) -> Errand[T]:
        """Carry work out in a thread of its own; ``done`` is told there how it ended.

        Raises:
            AttemptTimeoutError: too many calls are abandoned already.
        """
        self._check_abandoned()
        return Errand(self, work, done)

    def leave_to_itself(self, work: Callable[[], Any], *, name: str) -> None:
        """Begin work that nobody waits for; log its error, if it ends with one.

        Args:
            work: takes its time.
            name: of the target, for the log.
        """

        def carry_out() -> None:
            try:
                work()
            except Exception:
                logger.exception("waking target %r failed", name)

        threading.Thread(target=carry_out, name="failover-wake", daemon=True).start()

    def count(self, change: int) -> None:
        """Count an abandoned call, or take one back."""
        with self._lock:
            self.abandoned += change

    def _start(self) -> _Worker:
        self._check_abandoned()
        return _Worker(self)

    def _check_abandoned(self) -> None:
        if self.abandoned >= MAX_ABANDONED:
            message = f"{self.abandoned} abandoned calls still run; no further one is started"
            raise AttemptTimeoutError(message)


class Errand(Generic[T]):
    """Work in a thread of its own that may be abandoned while it runs.

    Args:
        workers: count it while it is abandoned.
        work: to be done, with the caller's context variables.
        done: is told of its result or its error, unless it has been abandoned.
    """

    def __init__(
        self,
        workers: Workers,
        work: Callable[[], T],
        done: Callable[[T | None, BaseException | None], object],
    ) -> None:
        self._workers = workers
        self._work = work
        self._done = done
        self._lock = threading.Lock()
        self._end: tuple[Any, BaseException | None] | None = None
        self._discard: Callable[[T], object] | None = None
        in_thread(self._carry_out)

    def abandon(self, discard: Callable[[T], object]) -> None:
        """Leave it to itself; its result, if it comes to one, goes to ``discard``."""
        with self._lock:
            self._discard, end = discard, self._end
        if end is None:
            self._workers.count(+1)
        elif end[1] is None:
            discard(end[0])

    def _carry_out(self) -> None:
        result: Any = None
        failure = None
        try:
            result = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            failure = error
        with self._lock:
            self._end, discard = (result, failure), self._discard
        if discard is None:
            self._done(result, failure)
            return
        if failure is None:
            discard(result)
        self._workers.count(-1)


class _Worker:
    """A thread that does one piece of work after the other, until it is told to stop."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._work: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._is_abandoned = False
        in_thread(self._serve)

    def do(self, work: Callable[[], T], seconds: float | None) -> T:
        """Return the result of the work, or raise what it raised.

        Raises:
            AttemptTimeoutError: it took longer than ``seconds``; it is left to itself.
        """
        self._work.put(work)
        try:
            result, error = self._results.get(timeout=seconds)
        except queue.Empty:
            self._is_abandoned = True
            self._workers.count(+1)
            message = f"no answer within {seconds:.3g} s"
            raise AttemptTimeoutError(message) from None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def stop(self, last_work: Callable[[], Any] | None = None) -> None:
        """End the thread once it is free, after one last piece of work that nobody waits for."""
        if last_work is not None:
            self._work.put(last_work)
        self._work.put(None)

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                self._results.put((work(), None))
            except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
                self._results.put((None, error))
        if self._is_abandoned:
            self._workers.count(-1)


def close_quietly(*sources: object) -> None:
    """Close iterators that can be closed; a stream that broke may refuse to."""
    for source in sources:
        if inspect.isgenerator(source) and source.gi_frame is None:
            continue  # it has ended
        close = getattr(source, "close", None)
        if callable(close):
            with contextlib.suppress(Exception):
                close()
