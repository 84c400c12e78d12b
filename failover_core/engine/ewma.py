"""How slow a target has been of late."""

from __future__ import annotations

import math

_DECAY = 10.0
_PENALTY = 1.0
"""Seconds that a failure counts for at least."""


class PeakEwma:
    """An average of latencies that jumps up at once and comes down slowly (Finagle's peak EWMA).

    Attributes:
        value: seconds when the newest latency came, or None without any.
    """

    __slots__ = ("_at", "value")

    def __init__(self) -> None:
        self.value: float | None = None
        self._at = 0.0

    def observe(self, seconds: float, now: float) -> None:
        """Take the latency of an answer into account."""
        if self.value is None or seconds > self.value:
            self.value = seconds
        else:
            weight = math.exp((self._at - now) / _DECAY)
            self.value = seconds * (1 - weight) + self.value * weight
        self._at = now

    def at(self, now: float) -> float | None:
        """Return the average, which fades while nothing is heard.

        So a target that was slow, and is spared for it, gets another chance.
        """
        return None if self.value is None else self.value * math.exp((self._at - now) / _DECAY)

    def failed(self, seconds: float, now: float) -> None:
        """Take a failure into account: a fast one must not look like a fast target."""
        self.observe(max(seconds, _PENALTY), now)
