"""Calls that are all in flight together: each waits until the last one has been sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from benchmarks.harness.turns import Laps, Turn, in_a_row_async
from benchmarks.scenarios.scaling.idle import pool


class Crowd:
    """A client whose calls all wait for one event.

    Args:
        size: calls that make it complete.
    """

    enforces_deadline = True

    def __init__(self, size: int) -> None:
        self._size = size
        self._arrived = 0
        self._everybody = asyncio.Event()

    async def call(self) -> int:
        """Wait until all calls have arrived."""
        self._arrived += 1
        if self._arrived == self._size:
            self._everybody.set()
        await self._everybody.wait()
        return 1

    async def gather(self, call: Callable[[], Awaitable[int]]) -> None:
        """Make the calls."""
        self._arrived, self._everybody = 0, asyncio.Event()
        await asyncio.gather(*(call() for _ in range(self._size)))


def alone_turn(size: int, times: int) -> Turn:
    """Return a turn of crowds without a router, each time anew."""
    client = Crowd(size)
    return in_a_row_async(lambda: client.gather(client.call), times)


def routed_turn(size: int, times: int, targets: int, strategy: str) -> Turn:
    """Return a turn of crowds that go through a router."""
    client = Crowd(size)
    router = pool(client, targets, strategy)
    return in_a_row_async(lambda: client.gather(lambda: router.arun(Crowd.call)), times)


def added(found: Mapping[str, Laps], routed: str, alone: str, size: int) -> list[float]:
    """Return the CPU seconds that the router adds to a call, within each round."""
    pairs = zip(found[routed].cpu, found[alone].cpu, strict=True)
    return [(own - its) / size for own, its in pairs]
