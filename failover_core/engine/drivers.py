"""The four doors: run, arun, stream, astream. They obey a Call and decide nothing.

``send`` receives the Attempt and sends it. It returns the answer (for ``arun`` an awaitable of
it), or an iterable of chunks (for ``astream`` an async one, or an awaitable of an async one).
Chunks are held back until ``is_content`` says yes to one; from there on the call is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from typing import Any, TypeVar

from failover_core.engine.attempt import Attempt, Wait
from failover_core.engine.call import Call
from failover_core.engine.deadline import current_deadline
from failover_core.engine.workers import close_quietly
from failover_core.errors import AttemptTimeoutError
from failover_core.resuming import Resume, Splice, Transcript
from failover_core.targets import Capability

T = TypeVar("T")

_CLOSING = 1.0
"""Seconds that closing an async stream may take."""


def run(call: Call, send: Callable[[Attempt], T]) -> T:
    """Carry a call out in this thread and return its answer."""
    while True:
        step = call.next()
        if isinstance(step, Attempt):
            try:
                answer = _send(step, send)
            except BaseException as error:  # noqa: BLE001 - the engine decides what follows
                call.failed(step, error)
            else:
                call.succeeded(step)
                return answer
        elif isinstance(step, Wait):
            call.clock.sleep(step.seconds)
        else:
            raise step.error


async def arun(call: Call, send: Callable[[Attempt], Awaitable[T]]) -> T:
    """Carry a call out in this task and return its answer."""
    while True:
        step = call.next()
        if isinstance(step, Attempt):
            try:
                answer = await _asend(step, send)
            except BaseException as error:  # noqa: BLE001 - the engine decides what follows
                call.failed(step, error)
            else:
                call.succeeded(step)
                return answer
        elif isinstance(step, Wait):
            await call.clock.asleep(step.seconds)
        else:
            raise step.error


def stream(
    call: Call,
    send: Callable[[Attempt], Iterable[T]],
    is_content: Callable[[T], bool],
    resume: Resume[T] | None = None,
) -> Iterator[T]:
    """Carry a call out in this thread and yield its chunks."""
    call.stream(resumable=resume is not None)
    transcript = Transcript(resume) if resume and call.is_resumable else None
    while True:
        step = call.next()
        if isinstance(step, Attempt):
            gate = _Gate(call, step, is_content, transcript)
            chunks = _chunks(call, step, gate.prefill or send)
            try:
                for chunk in chunks:
                    yield from gate.let_through(chunk)
                last = gate.end()
            except BaseException as error:  # noqa: BLE001 - the engine decides what follows
                call.failed(step, error)
            else:
                call.succeeded(step)
                yield from last
                return
            finally:
                close_quietly(chunks)
        elif isinstance(step, Wait):
            call.clock.sleep(step.seconds)
        else:
            raise step.error


async def astream(
    call: Call,
    send: Callable[[Attempt], AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
    is_content: Callable[[T], bool],
    resume: Resume[T] | None = None,
) -> AsyncIterator[T]:
    """Carry a call out in this task and yield its chunks."""
    call.stream(resumable=resume is not None)
    transcript = Transcript(resume) if resume and call.is_resumable else None
    while True:
        step = call.next()
        if isinstance(step, Attempt):
            gate = _Gate(call, step, is_content, transcript)
            chunks = _achunks(call, step, gate.prefill or send)
            try:
                async for chunk in chunks:
                    for ready in gate.let_through(chunk):
                        yield ready
                last = gate.end()
            except BaseException as error:  # noqa: BLE001 - the engine decides what follows
                call.failed(step, error)
            else:
                call.succeeded(step)
                for ready in last:
                    yield ready
                return
            finally:
                await chunks.aclose()
        elif isinstance(step, Wait):
            await call.clock.asleep(step.seconds)
        else:
            raise step.error


class _Gate:
    """Holds chunks back until one has content, and commits the call then.

    Of a target that continues the stream of another one, only what is new goes through.

    Attributes:
        prefill: asks the target to continue the text sent so far; None if it answers anew.
    """

    __slots__ = ("_attempt", "_call", "_held", "_is_content", "_splice", "_transcript", "prefill")

    def __init__(
        self,
        call: Call,
        attempt: Attempt,
        is_content: Callable[[Any], bool],
        transcript: Transcript[Any] | None,
    ) -> None:
        self._call = call
        self._attempt = attempt
        self._is_content = is_content
        self._held: list[Any] = []
        self._transcript = transcript
        self._splice: Splice[Any] | None = None
        self.prefill: Callable[[Attempt], Any] | None = None
        if transcript and call.is_resuming:
            self.prefill = _prefill(transcript, attempt)
            self._splice = Splice(transcript, prefilled=self.prefill is not None)

    def let_through(self, chunk: Any) -> list[Any]:
        """Return the chunks that may go to the caller now, in order."""
        if self._attempt.committed:
            return self._new([chunk])
        self._held.append(chunk)
        if not self._is_content(chunk):
            return []
        self._call.commit(self._attempt)
        released, self._held = self._held, []
        return self._new(released)

    def end(self) -> list[Any]:
        """Return the chunks that go to the caller when the stream has ended in order."""
        last = self._new(self._held)
        return [*last, *self._splice.end()] if self._splice else last

    def _new(self, chunks: list[Any]) -> list[Any]:
        transcript = self._transcript
        if transcript is None:
            return chunks
        feed = self._splice.feed if self._splice else transcript.feed
        released = [new for chunk in chunks for new in feed(chunk)]
        self._call.is_resumable = transcript.is_text
        return released


def _prefill(transcript: Transcript[Any], attempt: Attempt) -> Callable[[Attempt], Any] | None:
    """Return what asks the attempt's target to continue a text, if it can do that."""
    text, prefill = transcript.prefill, transcript.resume.prefill
    if not (prefill and text and Capability.PREFILL in (attempt.target.supports or ())):
        return None
    return lambda attempt: prefill(attempt.client, text)


def _send(attempt: Attempt, send: Callable[[Attempt], T]) -> T:
    if attempt.timeout is None:
        return send(attempt)
    if not attempt.state.keeps_deadline:
        return attempt.state.workers.call_within(lambda: send(attempt), attempt.timeout)
    token = current_deadline.set(attempt.started_at + attempt.timeout)
    try:
        return send(attempt)
    finally:
        current_deadline.reset(token)


async def _asend(attempt: Attempt, send: Callable[[Attempt], Awaitable[T]]) -> T:
    if attempt.timeout is None:
        return await send(attempt)
    if not attempt.state.keeps_deadline:
        return await _within(send(attempt), attempt.timeout)
    token = current_deadline.set(attempt.started_at + attempt.timeout)
    try:
        return await send(attempt)
    finally:
        current_deadline.reset(token)


def _chunks(call: Call, attempt: Attempt, send: Callable[[Attempt], Iterable[T]]) -> Iterator[T]:
    if call.is_timed(attempt):
        workers = attempt.state.workers
        yield from workers.iterate_within(lambda: send(attempt), lambda: call.silence(attempt))
        return
    source = send(attempt)
    try:
        yield from source
    finally:
        close_quietly(source)


async def _achunks(
    call: Call,
    attempt: Attempt,
    send: Callable[[Attempt], AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
) -> AsyncGenerator[T]:
    source = send(attempt)
    if inspect.isawaitable(source):
        source = await _within(source, call.silence(attempt))
    iterator = aiter(source)
    try:
        while True:
            silence = call.silence(attempt)  # raises when no time is left: nothing is begun then
            try:
                chunk = await _within(anext(iterator), silence)
            except StopAsyncIteration:
                return
            yield chunk
    finally:
        await _aclose_quietly(iterator, source)


async def _within(awaitable: Awaitable[T], seconds: float | None) -> T:
    if seconds is None:
        return await awaitable
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await awaitable
    except TimeoutError:
        if not limit.expired():
            raise
        message = f"no answer within {seconds:.3g} s"
        raise AttemptTimeoutError(message) from None


async def _aclose_quietly(*sources: object) -> None:
    for source in sources:
        close = getattr(source, "aclose", None) or getattr(source, "close", None)
        if callable(close):
            # A stream that broke may refuse to be closed, or take its time over it.
            with contextlib.suppress(Exception):
                closing = close()
                if inspect.isawaitable(closing):
                    await _within(closing, _CLOSING)
