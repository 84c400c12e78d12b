"""Ever so many texts, some at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from failover_core.embedding.texts import checked_texts
from failover_core.errors import PartialEmbeddingError


@dataclass(frozen=True, slots=True)
class Window:
    """Some of ever so many texts.

    Attributes:
        start: index of the first of them.
        texts: in their order.
    """

    start: int
    texts: list[str]

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Let the indices of an error count from the first text of all."""
        try:
            yield
        except PartialEmbeddingError as error:
            error.count_from(self.start)
            raise


def windows(texts: Iterable[str], size: int) -> Iterator[Window]:
    """Yield the texts, so many at a time.

    Raises:
        ConfigurationError: it is one string, no iterable, or one of them is no string.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        checked_texts(texts)
    source, start = iter(texts), 0
    while window := checked_texts(islice(source, size), start=start):
        yield Window(start, window)
        start += len(window)
