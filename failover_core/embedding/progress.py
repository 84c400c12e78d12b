"""A bar that counts the texts that have their vectors, while the others are on their way."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar

from failover_core.embedding.texts import checked_texts
from failover_core.embedding.verification import Vectors

Count = Callable[[int], None]
"""Is told of so many texts more."""

_untold: ContextVar[list[Count] | None] = ContextVar("failover_progress", default=None)
"""Who is to be told of the texts of the job that is begun next."""


@contextmanager
def bar(total: int | None) -> Iterator[Count]:
    """Show a bar until the end of the block, in a notebook as a widget.

    Args:
        total: texts of the whole; None leaves a running count without an end.

    Raises:
        ImportError: tqdm is not installed.
    """
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


@contextmanager
def counted(texts: Iterable[str], *, is_wanted: bool) -> Iterator[Iterable[str]]:
    """Show a bar, if it is wanted, for the one job that is begun with the texts in the block.

    Raises:
        ImportError: tqdm is not installed.
        ConfigurationError: they are no texts.
    """
    if not is_wanted:
        yield texts
        return
    listed = checked_texts(texts)
    with bar(len(listed)) as count:
        token = _untold.set([count])
        try:
            yield listed
        finally:
            _untold.reset(token)


def running(arrays: Iterable[Vectors], *, is_wanted: bool) -> Iterator[Vectors]:
    """Yield arrays of vectors and show, if it is wanted, how many vectors that makes.

    Raises:
        ImportError: tqdm is not installed.
    """
    with _running(is_wanted=is_wanted) as count:
        for vectors in arrays:
            count(len(vectors))
            yield vectors


async def arunning(arrays: AsyncIterable[Vectors], *, is_wanted: bool) -> AsyncIterator[Vectors]:
    """Yield what ``running`` yields."""
    with _running(is_wanted=is_wanted) as count:
        async for vectors in arrays:
            count(len(vectors))
            yield vectors


def _running(*, is_wanted: bool) -> AbstractContextManager[Count]:
    return bar(None) if is_wanted else nullcontext(lambda _: None)


def is_awaited() -> bool:
    """Tell whether somebody is to be told of the texts of the job that is begun next."""
    return bool(_untold.get())


def taken() -> Count | None:
    """Return who is to be told of a job's texts: no job that is begun inside of it will find it."""
    untold = _untold.get()
    return untold.pop() if untold else None
