"""How one attempt is sent: within its time, in this thread or task or in one of its own."""

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
from typing import TypeVar

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.engine.deadline import current_deadline
from failover_core.engine.workers import close_quietly
from failover_core.errors import AttemptTimeoutError
from failover_core.finishing import is_finished

T = TypeVar("T")

_CLOSING = 1.0
"""Seconds that closing an async stream may take."""


def send_once(send: Callable[[Attempt], T], attempt: Attempt) -> T:
    """Return the answer to an attempt."""
    if attempt.timeout is None:
        return send(attempt)
    if not attempt.state.keeps_deadline:
        return attempt.state.workers.call_within(lambda: send(attempt), attempt.timeout)
    token = current_deadline.set(attempt.started_at + attempt.timeout)
    try:
        return send(attempt)
    finally:
        current_deadline.reset(token)


async def asend_once(send: Callable[[Attempt], Awaitable[T]], attempt: Attempt) -> T:
    """Return the answer to an attempt."""
    if attempt.timeout is None:
        return await send(attempt)
    if not attempt.state.keeps_deadline:
        return await _within(send(attempt), attempt.timeout)
    token = current_deadline.set(attempt.started_at + attempt.timeout)
    try:
        return await send(attempt)
    finally:
        current_deadline.reset(token)


def open_stream(
    call: Call, attempt: Attempt, send: Callable[[Attempt], Iterable[T]]
) -> Iterator[T]:
    """Return the chunks of an attempt's stream: without timeouts, as its client gives them."""
    if call.is_timed(attempt):
        return chunks_of(call, attempt, send)
    source = send(attempt)
    chunks = iter(source)
    return chunks if chunks is source else chunks_of(call, attempt, lambda _: source)


async def aopen_stream(
    call: Call,
    attempt: Attempt,
    send: Callable[[Attempt], AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
) -> AsyncIterator[T]:
    """Do what ``open_stream`` does."""
    if call.is_timed(attempt):
        return achunks_of(call, attempt, send)
    source = send(attempt)
    if inspect.isawaitable(source):
        source = await source
    chunks = aiter(source)
    return chunks if chunks is source else achunks_of(call, attempt, lambda _: source)


def chunks_of(
    call: Call,
    attempt: Attempt,
    send: Callable[[Attempt], Iterable[T]],
    *,
    in_thread: bool = False,
) -> Iterator[T]:
    """Yield the chunks of an attempt's stream, each within its time.

    A stream that is timed, or is to be read from several threads (``in_thread``), lives in a
    thread of its own.
    """
    if in_thread or call.is_timed(attempt):
        workers = attempt.state.workers
        yield from workers.iterate_within(lambda: send(attempt), lambda: call.silence(attempt))
        return
    source = send(attempt)
    try:
        yield from source
    finally:
        close_quietly(source)


async def achunks_of(
    call: Call,
    attempt: Attempt,
    send: Callable[[Attempt], AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
) -> AsyncGenerator[T]:
    """Yield the chunks of an attempt's stream, each within its time."""
    source = send(attempt)
    if inspect.isawaitable(source):
        source = await _within(source, call.silence(attempt))
    iterator = aiter(source)
    try:
        if not call.is_timed(attempt):
            async for chunk in iterator:
                yield chunk
            return
        while True:
            silence = call.silence(attempt)  # raises when no time is left: nothing is begun then
            try:
                chunk = await _within(anext(iterator), silence)
            except StopAsyncIteration:
                return
            except AttemptTimeoutError:
                if is_finished(iterator):
                    return
                raise
            yield chunk
    finally:
        await aclose_quietly(iterator, source)


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


async def aclose_quietly(*sources: object) -> None:
    """Close async iterators that can be closed; a stream that broke may refuse to."""
    for source in sources:
        if inspect.isasyncgen(source) and source.ag_frame is None:
            continue  # it has ended, and is worth no timer
        close = getattr(source, "aclose", None) or getattr(source, "close", None)
        if callable(close):
            # A stream that broke may refuse to be closed, or take its time over it.
            with contextlib.suppress(Exception):
                closing = close()
                if inspect.isawaitable(closing):
                    await _within(closing, _CLOSING)
