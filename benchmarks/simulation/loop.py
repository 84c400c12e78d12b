"""Virtual time: one heap of events."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

WALL = 1_700_000_000.0
"""Unix time at which simulations begin."""


class Loop:
    """The events to come, in order; and the clock of every router in the simulation.

    A library for simulations would resume a generator for each of the few million events; this
    costs a third of that, and the engine's steps are callbacks anyway.
    """

    __slots__ = ("_events", "_now", "_numbers", "_wall")

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._now = 0.0
        self._wall = WALL

    def now(self) -> float:
        """Return the seconds since the simulation began."""
        return self._now

    def wall(self) -> float:
        """Return the Unix time as the clients' machines have it."""
        return self._now + self._wall

    def jump(self, seconds: float) -> None:
        """Set the clients' wall clocks forward or back."""
        self._wall += seconds

    def at(self, time: float, act: Callable[..., None], *args: Any) -> None:
        """Do something at an instant; what is due at the same instant happens in order."""
        heapq.heappush(self._events, (time, next(self._numbers), act, args))

    def after(self, seconds: float, act: Callable[..., None], *args: Any) -> None:
        """Do something in so many seconds."""
        heapq.heappush(self._events, (self._now + seconds, next(self._numbers), act, args))

    def run(self, until: float) -> None:
        """Let everything happen that is due until an instant."""
        events = self._events
        while events and events[0][0] <= until:
            self._now, _, act, args = heapq.heappop(events)
            act(*args)

    def sleep(self, seconds: float) -> None:
        """Refuse: nobody may block the only thread there is."""
        raise NotImplementedError

    async def asleep(self, seconds: float) -> None:
        """Refuse, as ``sleep`` does."""
        raise NotImplementedError
