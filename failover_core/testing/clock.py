"""A clock that moves only when it is told to, or slept on."""

from __future__ import annotations

import asyncio
import threading


class FakeClock:
    """Time as an argument: sleeping takes none. Thread-safe.

    Attributes:
        sleeps: the seconds of every sleep so far.
    """

    def __init__(self, *, now: float = 1_000.0, wall: float = 1_700_000_000.0) -> None:
        """Start at ``now`` seconds of monotonic and ``wall`` seconds of Unix time."""
        self.sleeps: list[float] = []
        self._now = now
        self._offset = wall - now
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the monotonic time in seconds."""
        return self._now

    def wall(self) -> float:
        """Return the Unix time in seconds."""
        return self._now + self._offset

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass at once, and note that somebody slept."""
        self.sleeps.append(seconds)
        self.advance(seconds)

    async def asleep(self, seconds: float) -> None:
        """Do as ``sleep`` does, and let other tasks run."""
        self.sleep(seconds)
        await asyncio.sleep(0)
