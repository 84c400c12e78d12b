"""Streams whose protocol gives a reason when they are complete, as OpenAI's does.

Some servers (and proxies in front of them) end a cut stream in order, so that only the missing
reason tells. After it nothing can break any more: neither an error nor silence takes anything
from an answer that is complete. What is no failure, such as a token budget that is used up, is
raised all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from failover_core.classify import is_neutral
from failover_core.errors import BrokenStreamError

T = TypeVar("T")

UNFINISHED = "the stream ended without a finish reason"


class _Watched(Generic[T]):
    """A stream that is watched for the reason.

    Args:
        chunks: the stream.
        gives_reason: tells whether a chunk gives it.

    Attributes:
        is_finished: whether one has given it.
    """

    def __init__(self, chunks: Any, gives_reason: Callable[[T], bool]) -> None:
        self._chunks = chunks
        self._gives_reason = gives_reason
        self.is_finished = False

    def _seen(self, chunk: T) -> T:
        self.is_finished = self.is_finished or self._gives_reason(chunk)
        return chunk


class Watched(_Watched[T], Iterator[T]):
    """A stream that raises BrokenStreamError where it ends without the reason."""

    def __init__(self, chunks: Iterable[T], gives_reason: Callable[[T], bool]) -> None:
        super().__init__(iter(chunks), gives_reason)

    def __next__(self) -> T:
        try:
            return self._seen(next(self._chunks))
        except StopIteration:
            if not self.is_finished:
                raise BrokenStreamError(UNFINISHED) from None
            raise
        except Exception as error:
            if not self.is_finished or is_neutral(error):
                raise
            raise StopIteration from None

    def close(self) -> None:
        """Close the stream."""
        if close := getattr(self._chunks, "close", None):
            close()


class AsyncWatched(_Watched[T], AsyncIterator[T]):
    """The same of an async stream."""

    def __init__(self, chunks: AsyncIterable[T], gives_reason: Callable[[T], bool]) -> None:
        super().__init__(aiter(chunks), gives_reason)

    async def __anext__(self) -> T:
        try:
            return self._seen(await anext(self._chunks))
        except StopAsyncIteration:
            if not self.is_finished:
                raise BrokenStreamError(UNFINISHED) from None
            raise
        except Exception as error:
            if not self.is_finished or is_neutral(error):
                raise
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Close the stream."""
        if aclose := getattr(self._chunks, "aclose", None):
            await aclose()


def is_finished(chunks: object) -> bool:
    """Return whether a stream is one that is watched, and complete."""
    return isinstance(chunks, _Watched) and chunks.is_finished
