"""A sum over the newest stretch of time."""

from __future__ import annotations

from failover_core.engine.deadline import UNLIMITED


class Window:
    """Adds up what happened within the last so many seconds, to one bucket's length.

    Args:
        seconds: its length.
        buckets: equal parts of it, forgotten one by one.

    Attributes:
        sum: of what happened; until ``total`` is asked, with what should be forgotten by now.
    """

    __slots__ = ("_bucket", "_ends_at", "_sums", "_width", "sum")

    def __init__(self, seconds: float, buckets: int = 10) -> None:
        self._width = seconds / buckets
        self._bucket = 0
        self._sums: list[float] = [0] * buckets
        self._ends_at = 0.0
        self.sum: float = 0

    def add(self, now: float, amount: float = 1) -> None:
        """Count something that happens now."""
        if now >= self._ends_at:
            self._turn(now)
        self._sums[self._bucket % len(self._sums)] += amount
        self.sum += amount

    def remove(self, now: float, amount: float, since: float) -> None:
        """Take back what happened at an earlier instant, unless it has been forgotten."""
        self._turn(now)
        bucket, size = int(since // self._width), len(self._sums)
        if bucket > self._bucket - size:
            self._sums[bucket % size] -= amount
            self.sum -= amount

    def total(self, now: float) -> float:
        """Return the sum of what happened within the window."""
        if now >= self._ends_at:
            self._turn(now)
        return self.sum

    def less_at(self, now: float, amount: float) -> float:
        """Return the instant at which so much of the sum will have been forgotten."""
        self._turn(now)
        size = len(self._sums)
        for bucket in range(self._bucket + 1, self._bucket + size + 1):
            amount -= self._sums[bucket % size]
            if amount <= 0:
                return bucket * self._width
        return UNLIMITED

    def _turn(self, now: float) -> None:
        bucket, size = int(now // self._width), len(self._sums)
        for stale in range(self._bucket + 1, min(bucket, self._bucket + size) + 1):
            self.sum -= self._sums[stale % size]
            self._sums[stale % size] = 0
        self._bucket = max(bucket, self._bucket)
        self._ends_at = (self._bucket + 1) * self._width
