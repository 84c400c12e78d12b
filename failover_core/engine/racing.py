"""Hedges: two attempts of one call at a time, of which the quicker one serves.

``start`` carries an attempt out and returns its answer; of a stream, what it has opened. How an
attempt ends is reported to the call here, except for the winner's success.

An async race runs its first attempt in the caller's own task, so that it costs a healthy call no
more than a timer. A synchronous attempt cannot be cancelled: it runs in a thread, and the loser is
abandoned there.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.engine.workers import Errand
from failover_core.errors import AttemptTimeoutError

T = TypeVar("T")

End = tuple[Attempt, Any, BaseException | None]


@dataclass(frozen=True, slots=True)
class Won(Generic[T]):
    """The attempt that was quicker, and what it answered."""

    attempt: Attempt
    answer: T


class _Field:
    """The attempts that still run, and what is told to the call when they end."""

    def __init__(self, call: Call, first: Attempt) -> None:
        self._call = call
        self._first = first
        self.running = [first]

    @property
    def is_open(self) -> bool:
        """Whether an attempt that runs may still serve the call."""
        return bool(self.running) and not self._call.is_over

    def hedge(self) -> Attempt | None:
        """Return a second attempt to carry out, if the call has one."""
        second = self._call.hedge(self._first)
        if second is not None:
            self.running.append(second)
        return second

    def won(self, attempt: Attempt) -> None:
        """Note that an attempt has answered; the others have lost."""
        self.running.remove(attempt)
        self.abandon()

    def failed(self, attempt: Attempt, error: BaseException) -> None:
        """Note that an attempt has failed."""
        if attempt in self.running:
            self.running.remove(attempt)
            self._call.failed(attempt, error)

    def abandon(self) -> None:
        """Note that nobody waits any more for those that still run."""
        for attempt in self.running:
            self._call.abandoned(attempt)
        self.running.clear()

    def interrupted(self, error: BaseException) -> None:
        """Note that the caller was interrupted."""
        for attempt in tuple(self.running):
            self.failed(attempt, error)


def race(
    call: Call,
    first: Attempt,
    start: Callable[[Attempt], T],
    discard: Callable[[T], object] = lambda _: None,
) -> Won[T] | None:
    """Return the quicker of an attempt and its hedge; None if all there were have failed.

    Args:
        call: whose attempts they are.
        first: the attempt that may be hedged.
        start: carries an attempt out, in a thread.
        discard: is given what a loser answers after all.
    """
    field, threads = _Field(call, first), _Threads(start, discard)
    try:
        threads.start(first)
        end = threads.next(first.hedge_after)
        if end is None and (second := field.hedge()):
            threads.start(second)
        while field.is_open:
            attempt, answer, error = end or threads.wait()
            if error is None:
                field.won(attempt)
                return Won(attempt, answer)
            field.failed(attempt, error)
            end = None
        field.abandon()
    except BaseException as error:  # noqa: BLE001 - the engine decides what follows
        field.interrupted(error)
    finally:
        threads.close()
    return None


class _Threads(Generic[T]):
    """Attempts in threads of their targets, and their ends as they come."""

    def __init__(self, start: Callable[[Attempt], T], discard: Callable[[T], object]) -> None:
        self._start = start
        self._discard = discard
        self._errands: dict[Attempt, Errand[T]] = {}
        self._ends: queue.SimpleQueue[End] = queue.SimpleQueue()

    def start(self, attempt: Attempt) -> None:
        """Carry an attempt out."""
        try:
            self._errands[attempt] = attempt.state.workers.send(
                lambda: self._start(attempt),
                lambda answer, error: self._ends.put((attempt, answer, error)),
            )
        except AttemptTimeoutError as error:  # too many abandoned calls still run there
            self._ends.put((attempt, None, error))

    def next(self, seconds: float | None) -> End | None:
        """Return the next end; None if there is none within so many seconds."""
        try:
            end = self._ends.get(timeout=seconds)
        except queue.Empty:
            return None
        self._errands.pop(end[0], None)
        return end

    def wait(self) -> End:
        """Return the next end."""
        end = self._ends.get()
        self._errands.pop(end[0], None)
        return end

    def close(self) -> None:
        """Abandon what still runs."""
        for errand in self._errands.values():
            errand.abandon(self._discard)


async def arace(
    call: Call,
    first: Attempt,
    start: Callable[[Attempt], Awaitable[T]],
    discard: Callable[[T], object] = lambda _: None,
) -> Won[T] | None:
    """Return the quicker of an attempt and its hedge; see ``race``.

    The hedge is carried out in a task of its own, the first attempt in the running one.
    """
    race = _AsyncRace(call, first, start)
    won = None
    try:
        won = await race.run()
    except BaseException as error:  # noqa: BLE001 - the engine decides what follows
        race.field.interrupted(error)
    finally:
        race.close(won, discard)
    return won


class _AsyncRace(Generic[T]):
    """An attempt in the running task, and a hedge in another one, which may cancel the first."""

    def __init__(
        self, call: Call, first: Attempt, start: Callable[[Attempt], Awaitable[T]]
    ) -> None:
        self.field = _Field(call, first)
        self._first = first
        self._start = start
        self._second: Attempt | None = None
        self._hedge: asyncio.Future[T] | None = None
        self._has_cancelled = False
        self._runner: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        self._cancels = self._runner.cancelling()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(first.hedge_after or 0.0, self._start_hedge)

    async def run(self) -> Won[T] | None:
        """Carry the first attempt out, and then wait for the hedge if it can still serve."""
        first = self._first
        try:
            answer = await self._start(first)
        except asyncio.CancelledError:
            if not self._takes_cancel_back():
                raise
        except BaseException as error:  # noqa: BLE001 - the engine decides what follows
            self._takes_cancel_back()
            self.field.failed(first, error)
        else:
            self._takes_cancel_back()
            self.field.won(first)
            return Won(first, answer)
        return await self._wait_for_hedge()

    async def _wait_for_hedge(self) -> Won[T] | None:
        second, hedge = self._second, self._hedge
        if second is None or hedge is None or not self.field.is_open:
            self.field.abandon()
            return None
        try:
            answer = await hedge
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the engine decides what follows
            self.field.failed(second, error)
            return None
        self.field.won(second)
        return Won(second, answer)

    def close(self, won: Won[T] | None, discard: Callable[[T], object]) -> None:
        """End a hedge that has not won."""
        self._timer.cancel()
        hedge = self._hedge
        if hedge is None or (won and won.attempt is self._second):
            return
        if not hedge.done():
            hedge.cancel()
            _ENDING.add(hedge)
            hedge.add_done_callback(_ENDING.discard)
        elif not hedge.cancelled() and hedge.exception() is None:
            discard(hedge.result())

    def _start_hedge(self) -> None:
        self._second = self.field.hedge()
        if self._second is not None:
            self._hedge = asyncio.ensure_future(self._start(self._second))
            self._hedge.add_done_callback(self._end_hedge)

    def _end_hedge(self, hedge: asyncio.Future[T]) -> None:
        """Stop the first attempt if the hedge has answered, or has ended the call."""
        if hedge.cancelled() or self._second is None:
            return
        if (error := hedge.exception()) is not None:
            self.field.failed(self._second, error)
        is_decided = error is None or not self.field.is_open
        if is_decided and self._first in self.field.running:
            self._has_cancelled = True
            self._runner.cancel()

    def _takes_cancel_back(self) -> bool:
        """Return whether a cancellation of the running task was ours alone, and so is over."""
        if not self._has_cancelled:
            return False
        return self._runner.uncancel() <= self._cancels


_ENDING: set[asyncio.Future[Any]] = set()
"""Losers that are being cancelled: the event loop itself does not keep tasks alive."""
