"""The newest of many numbers, and their percentiles."""

from __future__ import annotations

from array import array


class Samples:
    """The newest so many numbers. An array of doubles: a list of floats takes four times that.

    Args:
        size: how many.
    """

    __slots__ = ("_newest", "_size", "_values")

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest = 0
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._values)

    def add(self, value: float) -> None:
        """Add a number; forget the oldest if there are too many."""
        if len(self._values) < self._size:
            self._values.append(value)
        else:
            self._values[self._newest] = value
        self._newest = (self._newest + 1) % self._size

    def ordered(self) -> list[float]:
        """Return the numbers in ascending order."""
        return sorted(self._values)


def percentile(ordered: list[float], share: float) -> float:
    """Return the number below which a share of some numbers, in ascending order, lies.

    Args:
        ordered: the numbers, one at least.
        share: from 0 to less than 1.
    """
    return ordered[int(share * len(ordered))]
