"""Targets that fail by a schedule drawn from a seed, on a clock that never waits."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from failover_core import MalformedResponseError, Router, Target
from failover_core.testing import FakeClock
from tests.engine.doors import status

FAULTS: list[Exception] = [
    ConnectionRefusedError("refused"),
    ConnectionResetError("reset"),
    TimeoutError("silent"),
    status(500),
    status(503),
    status(529),
    status(429),
    status(429, retry_after="3"),
    status(503, retry_after="20"),
    status(401),
    status(402),
    status(404),
    MalformedResponseError("one vector for three texts"),
    ValueError("strange"),
]

_HEALTHY = 60.0
_FAILING = 20.0
_LASTING = 500.0
_SILENCE = 2.0


class MovableClock(FakeClock):
    """A fake clock whose wall time can be set wrong."""

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back; monotonic time goes on."""
        self._offset += seconds


@dataclass(frozen=True)
class Outage:
    """From ``start`` to ``end`` (seconds of the clock) a target raises ``error``."""

    start: float
    end: float
    error: Exception


class World:
    """Four targets of which a quarter fails on average, and one is alive at any moment.

    Answers and complaints take a few hundredths of a second, silence two seconds.

    Args:
        seed: of the schedule, of the calls' times and of the router's own dice.
        strategy: of the router.
        **policy: of the router.

    Attributes:
        sends: attempts so far.
    """

    def __init__(self, seed: int, strategy: str = "priority", **policy: Any) -> None:
        self.clock = MovableClock()
        self.sends = 0
        self._dice = random.Random(seed)
        self._outages = {name: self._schedule() for name in "abcd"}
        self._keep_one_alive()
        targets = [Target(name, name=name) for name in "abcd"]
        dice = random.Random(seed)
        self.router = Router(targets, policy=policy, strategy=strategy, clock=self.clock, dice=dice)

    def pass_time(self) -> None:
        """Let the time until the next call pass."""
        self.clock.advance(self._dice.expovariate(2.0))

    def behave(self, name: str) -> str:
        """Answer as the target of that name does now."""
        self.sends += 1
        outage = self._outage(name, self.clock.now())
        is_silent = outage is not None and isinstance(outage.error, TimeoutError)
        self.clock.advance(_SILENCE if is_silent else self._dice.uniform(0.01, 0.1))
        if outage is not None:
            raise outage.error
        return name

    def was_lost(self, since: float) -> bool:
        """Return whether a call from ``since`` to now had a target that was alive throughout."""
        now = self.clock.now()
        return any(
            all(outage.end <= since or outage.start > now for outage in outages)
            for outages in self._outages.values()
        )

    def _schedule(self) -> list[Outage]:
        dice, outages = self._dice, []
        time = self.clock.now() - dice.uniform(0, _HEALTHY)
        while time < self.clock.now() + _LASTING:
            start = time + dice.expovariate(1 / _HEALTHY)
            time = start + dice.expovariate(1 / _FAILING)
            outages.append(Outage(start, time, dice.choice(FAULTS)))
        return outages

    def _outage(self, name: str, time: float) -> Outage | None:
        return next((o for o in self._outages[name] if o.start <= time < o.end), None)

    def _keep_one_alive(self) -> None:
        """Take away the outages that would leave nobody: all are down when one starts."""
        for outages in self._outages.values():
            for outage in tuple(outages):
                if all(self._outage(name, outage.start) for name in self._outages):
                    outages.remove(outage)
