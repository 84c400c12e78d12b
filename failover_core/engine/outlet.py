"""What a stream's chunks pass last, on their way to the caller.

It is a part of the driver because every generator around a stream costs each chunk of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Outlet(Protocol[T]):
    """Sees the chunks of a stream as its caller gets them."""

    def on(self, chunk: T, /) -> T:
        """Return a chunk to pass on."""
        ...

    def end(self) -> Iterable[T]:
        """Return the chunks to add when the stream has ended in order."""
        ...


class _AsTheyAre:
    def on(self, chunk: Any, /) -> Any:
        return chunk

    def end(self) -> Iterable[Any]:
        return ()


AS_THEY_ARE: Outlet[Any] = _AsTheyAre()
"""Passes every chunk on."""
