"""Opening a stream: reading it until its first content, which is what a race of streams is about.

From its first chunk to its last a stream lives in one thread or task, because its timeouts and its
context variables do. That of a hedge, which is opened apart from its reader, is pumped from there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from typing import Any, Generic, Self, TypeVar

from failover_core.engine.sending import aclose_quietly
from failover_core.engine.workers import close_quietly

T = TypeVar("T")


class Opened(Iterator[T]):
    """A stream that has been read until its first content, from its beginning again."""

    def __init__(self, chunks: Iterator[T]) -> None:
        self._chunks = chunks
        self._read: deque[T] = deque()

    @classmethod
    def up_to(cls, is_content: Callable[[T], bool], chunks: Iterator[T]) -> Self:
        """Read a stream until its first content, or its end."""
        opened = cls(chunks)
        try:
            for chunk in chunks:
                opened._read.append(chunk)
                if is_content(chunk):
                    break
        except BaseException:
            close_quietly(chunks)
            raise
        return opened

    def __next__(self) -> T:
        return self._read.popleft() if self._read else next(self._chunks)

    def close(self) -> None:
        """Close the stream."""
        close_quietly(self._chunks)


class AsyncOpened(AsyncIterator[T]):
    """The same of an async stream."""

    def __init__(self, chunks: AsyncGenerator[T] | Pump[T]) -> None:
        self._chunks = chunks
        self._read: deque[T] = deque()

    @classmethod
    async def up_to(
        cls, is_content: Callable[[T], bool], chunks: AsyncGenerator[T] | Pump[T]
    ) -> Self:
        """Read a stream until its first content, or its end."""
        opened = cls(chunks)
        try:
            async for chunk in chunks:
                opened._read.append(chunk)
                if is_content(chunk):
                    break
        except BaseException:
            await aclose_quietly(chunks)
            raise
        return opened

    async def __anext__(self) -> T:
        return self._read.popleft() if self._read else await anext(self._chunks)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._chunks.aclose()

    def drop(self) -> None:
        """Close the stream some time soon."""
        closing = asyncio.ensure_future(self.aclose())
        _CLOSING.add(closing)
        closing.add_done_callback(_CLOSING.discard)


class Pump(AsyncIterator[T], Generic[T]):
    """A stream in a task of its own, read one chunk ahead.

    Args:
        chunks: the stream.
    """

    def __init__(self, chunks: AsyncGenerator[T]) -> None:
        self._queue: asyncio.Queue[tuple[Any, BaseException | None]] = asyncio.Queue(maxsize=1)
        self._task = asyncio.ensure_future(self._run(chunks))

    async def _run(self, chunks: AsyncGenerator[T]) -> None:
        end: BaseException = StopAsyncIteration()
        try:
            async for chunk in chunks:
                await self._queue.put((chunk, None))
        except Exception as error:  # noqa: BLE001 - the reader hears of it
            end = error
        finally:
            await chunks.aclose()
        await self._queue.put((None, end))

    async def __anext__(self) -> T:
        chunk, end = await self._queue.get()
        if end is not None:
            self._queue.put_nowait((None, end))  # an end stays one
            raise end
        return chunk  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        """End the task, and the stream with it."""
        self._task.cancel()
        await asyncio.wait([self._task])


_CLOSING: set[asyncio.Future[None]] = set()
"""Streams that are being closed: the event loop itself does not keep tasks alive."""
