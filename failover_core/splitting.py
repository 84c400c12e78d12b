"""How much goes into one request."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

_BYTES_PER_TOKEN = 3
"""Of UTF-8: fewer than most texts have, so that a request is rather too small than refused."""


class Limits:
    """The most that each of several targets takes in one request.

    Args:
        items: texts, as the user wants it.
        known: what the targets take: ``items``, ``bytes`` and ``tokens``, each a number or None;
            or None where that is not known.

    Attributes:
        items: texts of one request at the most; a request that was too large lowers it.
    """

    def __init__(self, items: int, known: Iterable[Any] = ()) -> None:
        known = list(known)
        self._largest = min(_given(known, "items"), default=sys.maxsize)
        self.resize(items)
        sizes = _given(known, "bytes")
        sizes += [tokens * _BYTES_PER_TOKEN for tokens in _given(known, "tokens")]
        self._bytes: int | None = min(sizes, default=None)

    def resize(self, items: int) -> None:
        """Take note that the user wants so many texts in a request."""
        self.items = min(items, self._largest)

    def have_room_for(self, items: int) -> bool:
        """Return whether so many texts go out together, however long they are."""
        return self._bytes is None and items <= self.items

    def have_room_beside(self, items: int) -> bool:
        """Return whether targets take one more text than so many, whatever the user wants."""
        return items < self._largest

    def end_of_request(self, texts: Sequence[str], start: int, *, beside: str = "") -> int:
        """Return the end of the slice of texts that go out together; it holds one at least.

        Args:
            texts: of the job.
            start: of the slice.
            beside: text that counts once more with each of them.
        """
        end = min(start + self.items, len(texts))
        if self._bytes is None:
            return end
        left, each = self._bytes, _size(beside)
        for place in range(start, end):
            left -= each + _size(texts[place])
            if left < 0:
                return max(place, start + 1)
        return end

    def learn(self, items: int) -> None:
        """Take note that so many texts were taken where twice as many were refused."""
        self.items = self._largest = max(1, min(self.items, items))


def _given(limits: Iterable[Any], name: str) -> list[int]:
    return [value for one in limits if (value := getattr(one, name, None)) is not None]


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
