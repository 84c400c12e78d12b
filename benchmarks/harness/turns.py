"""Contestants take turns, so that a busy machine disturbs all of them alike."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Lap:
    """One turn of a contestant.

    Attributes:
        wall: seconds a call.
        cpu: seconds of this process's CPU time a call.
        each: seconds that each call took, where calls are timed one by one.
    """

    wall: float
    cpu: float
    each: tuple[float, ...] = ()


Turn = Callable[[], Lap]


@dataclass(slots=True)
class Laps:
    """The turns of one contestant, round by round."""

    laps: list[Lap] = field(default_factory=list)

    @property
    def wall(self) -> list[float]:
        """Seconds a call in each round."""
        return [lap.wall for lap in self.laps]

    @property
    def cpu(self) -> list[float]:
        """CPU seconds a call in each round."""
        return [lap.cpu for lap in self.laps]

    @property
    def each(self) -> list[float]:
        """Seconds of every single call of all rounds."""
        return [seconds for lap in self.laps for seconds in lap.each]


def take_turns(turns: Mapping[str, Turn | None], rounds: int) -> dict[str, Laps]:
    """Let each contestant take its turn in every round, after one that warms up.

    Args:
        turns: of each contestant; None for one that is not installed, which is left out.
        rounds: turns of each. Every other round goes through them backwards.
    """
    present = {name: turn for name, turn in turns.items() if turn is not None}
    found = {name: Laps() for name in present}
    for turn in present.values():
        turn()
    settle()
    for number in range(rounds):
        order = list(present) if number % 2 else list(reversed(present))
        for name in order:
            found[name].laps.append(present[name]())
    return found


def settle() -> None:
    """Keep the collector from looking through all that was imported while we measure."""
    gc.collect()
    gc.freeze()


def in_a_row(call: Call, calls: int) -> Turn:
    """Make the calls one after the other."""

    def turn() -> Lap:
        clock = _Clock()
        for _ in range(calls):
            call()
        return clock.lap(calls)

    return turn


def in_a_row_async(call: AsyncCall, calls: int) -> Turn:
    """Make the calls one after the other, in the event loop of this process."""

    async def run() -> Lap:
        clock = _Clock()
        for _ in range(calls):
            await call()
        return clock.lap(calls)

    return lambda: loop().run(run())


def in_threads(call: Call, calls: int, at_once: int) -> Turn:
    """Make the calls from so many threads, and time each."""

    def timed(_: int) -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    def turn() -> Lap:
        with ThreadPoolExecutor(at_once) as threads:
            list(threads.map(timed, range(at_once)))  # threads start, connections are opened
            clock = _Clock()
            each = list(threads.map(timed, range(calls)))
            return clock.lap(calls, each)

    return turn


def in_tasks(call: AsyncCall, calls: int, at_once: int) -> Turn:
    """Make the calls from so many tasks of this process's event loop, and time each."""
    each: list[float] = []

    async def worker(calls: int) -> None:
        for _ in range(calls):
            started = time.perf_counter()
            await call()
            each.append(time.perf_counter() - started)

    async def run() -> Lap:
        await asyncio.gather(*(worker(1) for _ in range(at_once)))  # connections are opened
        each.clear()
        clock = _Clock()
        await asyncio.gather(*(worker(calls // at_once) for _ in range(at_once)))
        return clock.lap(len(each), each)

    return lambda: loop().run(run())


@cache
def loop() -> asyncio.Runner:
    """Return the loop of this process: async clients belong to the one they are first used in."""
    return asyncio.Runner()


class _Clock:
    """Runs from the moment it is made."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def lap(self, calls: int, each: list[float] | None = None) -> Lap:
        wall = time.perf_counter() - self._wall
        cpu = time.process_time() - self._cpu
        return Lap(wall / calls, cpu / calls, tuple(each or ()))
