"""How much goes into one request for vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_BYTES_PER_TOKEN = 3
"""Of UTF-8: fewer than most texts have, so that a request is rather too small than refused."""


class Limits:
    """The most that every target of a pool takes in one request.

    Args:
        items: texts, as the user wants it.
        clients: of the targets; those that have ``limits`` (``items``, ``bytes``, ``tokens``,
            each a number or None) lower what is sent to any.

    Attributes:
        items: texts of one request at the most; a request that was too large lowers it.
    """

    def __init__(self, items: int, clients: Iterable[Any] = ()) -> None:
        known = [limits for client in clients if (limits := getattr(client, "limits", None))]
        self.items = min([items, *_given(known, "items")])
        sizes = _given(known, "bytes")
        sizes += [tokens * _BYTES_PER_TOKEN for tokens in _given(known, "tokens")]
        self._bytes: int | None = min(sizes, default=None)

    def end_of_request(self, texts: Sequence[str], start: int) -> int:
        """Return the end of the slice of texts that go out together; it holds one at least."""
        end = min(start + self.items, len(texts))
        if self._bytes is None:
            return end
        left = self._bytes
        for place in range(start, end):
            left -= len(texts[place].encode("utf-8", "replace"))
            if left < 0:
                return max(place, start + 1)
        return end

    def learn(self, items: int) -> None:
        """Take note that so many texts were taken where twice as many were refused."""
        self.items = max(1, min(self.items, items))


def _given(limits: Iterable[Any], name: str) -> list[int]:
    return [value for one in limits if (value := getattr(one, name, None)) is not None]
