"""What the engine is given from outside: time and chance."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time. ``failover_core.testing.FakeClock`` is one that tests move by hand."""

    def now(self) -> float:
        """Return monotonic seconds; only differences mean something."""

    def wall(self) -> float:
        """Return Unix time in seconds, for people and for ``Retry-After`` dates."""

    def sleep(self, seconds: float) -> None:
        """Block the thread."""

    async def asleep(self, seconds: float) -> None:
        """Suspend the task."""


class Dice(Protocol):
    """Chance: ``random.Random(seed)``, or any object with its ``uniform``."""

    def uniform(self, a: float, b: float, /) -> float:
        """Return a random number between a and b."""
