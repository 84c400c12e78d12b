"""A bar that counts the texts that have their vectors, while the others are on their way."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from failover_core.embedding.verification import Vectors

Count = Callable[[int], None]
"""Is told of so many texts more."""


@contextmanager
def bar(total: int | None, *, is_wanted: bool) -> Iterator[Count | None]:
    """Show a bar until the end of the block, in a notebook as a widget; None if it is not wanted.

    Args:
        total: texts of the whole; None leaves a running count without an end.
        is_wanted: whether there is to be one.

    Raises:
        ImportError: tqdm is not installed.
    """
    if not is_wanted:
        yield None
        return
    try:
        from tqdm.auto import tqdm  # type: ignore[import-untyped] # noqa: PLC0415 - an extra
    except ImportError as error:
        message = (
            'show_progress needs tqdm, which is not installed: pip install "rag-failover[progress]"'
        )
        raise ImportError(message) from error
    shown, lock = tqdm(total=total, desc="Embedding", unit=" texts"), threading.Lock()

    def count(texts: int) -> None:
        # Vectors are worth more than a bar whose terminal is gone.
        with lock, suppress(Exception):
            shown.update(texts)

    try:
        yield count
    finally:
        with suppress(Exception):
            shown.close()


def running(arrays: Iterable[Vectors], *, is_wanted: bool) -> Iterator[Vectors]:
    """Yield arrays of vectors and show, if it is wanted, how many vectors that makes.

    Raises:
        ImportError: tqdm is not installed.
    """
    with bar(None, is_wanted=is_wanted) as count:
        for vectors in arrays:
            if count:
                count(len(vectors))
            yield vectors


async def arunning(arrays: AsyncIterable[Vectors], *, is_wanted: bool) -> AsyncIterator[Vectors]:
    """Yield what ``running`` yields."""
    with bar(None, is_wanted=is_wanted) as count:
        async for vectors in arrays:
            if count:
                count(len(vectors))
            yield vectors
