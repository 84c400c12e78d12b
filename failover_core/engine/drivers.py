"""The four doors: run, arun, stream, astream. They obey a Call and decide nothing.

``send`` receives the Attempt and sends it. It returns the answer (for ``arun`` an awaitable of
it), or an iterable of chunks (for ``astream`` an async one, or an awaitable of an async one).
Chunks are held back until ``is_content`` says yes to one; from there on the call is committed.
What goes out to the caller passes ``outlet`` last.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from functools import partial
from typing import TypeVar

from failover_core.engine.attempt import Attempt, Wait
from failover_core.engine.call import Call
from failover_core.engine.gate import gate_of
from failover_core.engine.opening import AsyncOpened, Opened, Pump
from failover_core.engine.outlet import AS_THEY_ARE, Outlet
from failover_core.engine.racing import arace, race
from failover_core.engine.sending import (
    achunks_of,
    aclose_quietly,
    aopen_stream,
    asend_once,
    chunks_of,
    open_stream,
    send_once,
)
from failover_core.engine.workers import close_quietly
from failover_core.resuming import Resume, Transcript

T = TypeVar("T")


def run(call: Call, send: Callable[[Attempt], T]) -> T:
    """Carry a call out in this thread and return its answer."""
    while True:
        step = call.next()
        if isinstance(step, Attempt):
            if step.hedge_after is not None:
                if won := race(call, step, partial(send_once, send)):
                    call.succeeded(won.attempt)
                    return won.answer
                continue
            try:
                answer = send_once(send, step)
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
            if step.hedge_after is not None:
                if won := await arace(call, step, partial(asend_once, send)):
                    call.succeeded(won.attempt)
                    return won.answer
                continue
            try:
                answer = await asend_once(send, step)
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
    outlet: Outlet[T] = AS_THEY_ARE,
) -> Iterator[T]:
    """Carry a call out in this thread and yield its chunks."""
    call.stream(resumable=resume is not None)
    transcript = _transcript(call, resume)
    while True:
        step = call.next()
        if isinstance(step, Attempt):
            if (begun := _begun(call, step, send, is_content)) is None:
                continue
            step, chunks = begun
            gate = gate_of(call, step, is_content, transcript)
            try:
                chunks = chunks or open_stream(call, step, gate.prefill or send)
                for ready in gate.open(chunks):
                    yield outlet.on(ready)
                for ready in gate.rest(chunks):
                    yield outlet.on(ready)
                last = gate.end()
            except BaseException as error:  # noqa: BLE001 - the engine decides what follows
                call.failed(step, error)
            else:
                call.succeeded(step)
                yield from (*map(outlet.on, last), *outlet.end())
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
    outlet: Outlet[T] = AS_THEY_ARE,
) -> AsyncIterator[T]:
    """Carry a call out in this task and yield its chunks."""
    call.stream(resumable=resume is not None)
    transcript = _transcript(call, resume)
    while True:
        step = call.next()
        if isinstance(step, Attempt):
            if (begun := await _abegun(call, step, send, is_content)) is None:
                continue
            step, chunks = begun
            gate = gate_of(call, step, is_content, transcript)
            try:
                chunks = chunks or await aopen_stream(call, step, gate.prefill or send)
                for ready in await gate.aopen(chunks):
                    yield outlet.on(ready)
                async for ready in gate.rest(chunks):
                    yield outlet.on(ready)
                last = gate.end()
            except BaseException as error:  # noqa: BLE001 - the engine decides what follows
                call.failed(step, error)
            else:
                call.succeeded(step)
                for ready in (*map(outlet.on, last), *outlet.end()):
                    yield ready
                return
            finally:
                await aclose_quietly(chunks)
        elif isinstance(step, Wait):
            await call.clock.asleep(step.seconds)
        else:
            raise step.error


def _transcript(call: Call, resume: Resume[T] | None) -> Transcript[T] | None:
    if resume is None or resume.replaces or not call.is_resumable:
        return None
    return Transcript(resume)


def _begun(
    call: Call,
    first: Attempt,
    send: Callable[[Attempt], Iterable[T]],
    is_content: Callable[[T], bool],
) -> tuple[Attempt, Iterator[T] | None] | None:
    """Return the attempt that is to serve, and its stream if it had to race for that.

    None if both it and its hedge have failed.
    """
    if first.hedge_after is None:
        return first, None

    def open_one(attempt: Attempt) -> Opened[T]:
        return Opened.up_to(is_content, chunks_of(call, attempt, send, in_thread=True))

    won = race(call, first, open_one, Opened.close)
    return None if won is None else (won.attempt, won.answer)


async def _abegun(
    call: Call,
    first: Attempt,
    send: Callable[[Attempt], AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
    is_content: Callable[[T], bool],
) -> tuple[Attempt, AsyncIterator[T] | None] | None:
    """Do what ``_begun`` does."""
    if first.hedge_after is None:
        return first, None

    async def open_one(attempt: Attempt) -> AsyncOpened[T]:
        chunks = achunks_of(call, attempt, send)
        return await AsyncOpened.up_to(is_content, chunks if attempt is first else Pump(chunks))

    won = await arace(call, first, open_one, AsyncOpened.drop)
    return None if won is None else (won.attempt, won.answer)
