"""A scenario: who calls whom how often, and what goes wrong; and its run."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.simulation.clients import Caller, Errand
from benchmarks.simulation.ledger import Ledger, Span
from benchmarks.simulation.loop import Loop
from benchmarks.simulation.policies import Policy, World
from benchmarks.simulation.servers import HEALTHY, Condition, Draw, Server

_DRAIN = 120.0
"""Seconds that a run goes on after its last call, for those under way."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong with some servers for a while.

    Attributes:
        span: for how long.
        servers: their numbers.
        condition: what is wrong with them.
    """

    span: Span
    servers: Sequence[int]
    condition: Condition


@dataclass(frozen=True, slots=True)
class Scenario:
    """Clients, servers and faults.

    Attributes:
        slots: of each server; their number is that of the servers.
        queue: requests that may wait at each server.
        service: draws the seconds that a request takes at a server of speed 1.
        speeds: factors on the service times, one for each server; default: all alike.
        clients: how many; each has a caller of its own.
        rate: calls a second of all clients together.
        seconds: length of the run.
        patience: seconds after which an answer is of no use.
        attempt_timeout: of every attempt of every policy, in seconds.
        span: the time of trouble, which figures "during" are about.
        faults: what goes wrong.
        jumps: instants at which the clients' wall clocks jump, and by how many seconds.
        notices: whether servers drop queued requests of clients that have gone away.
    """

    slots: Sequence[int]
    queue: int
    service: Draw
    clients: int
    rate: float
    seconds: float
    patience: float
    attempt_timeout: float
    span: Span
    faults: Sequence[Fault] = ()
    speeds: Sequence[float] = ()
    jumps: Sequence[tuple[float, float]] = ()
    notices: bool = False


@dataclass(slots=True)
class Run:
    """A scenario that is played by clients of one policy.

    Chance has a stream of its own for each part: calls come at the same instants, and servers
    draw the same service times, whatever the policy.
    """

    scenario: Scenario
    policy: Policy
    seed: int = 0
    loop: Loop = field(init=False, default_factory=Loop)
    ledger: Ledger = field(init=False)
    _callers: list[Caller] = field(init=False)
    _arrivals: random.Random = field(init=False)

    def __post_init__(self) -> None:
        scenario = self.scenario
        self.ledger = Ledger(len(scenario.slots), scenario.seconds, scenario.patience)
        servers = self._servers()
        world = World(servers, self.loop, self._dice("clients"), scenario.attempt_timeout)
        caller = self.policy.equip(world)
        self._callers = [caller() for _ in range(scenario.clients)]
        self._arrivals = self._dice("arrivals")
        for fault in scenario.faults:
            for number in fault.servers:
                self.loop.at(fault.span.start, servers[number].become, fault.condition)
                self.loop.at(fault.span.end, servers[number].become, HEALTHY)
        for instant, seconds in scenario.jumps:
            self.loop.at(instant, self.loop.jump, seconds)
        self.loop.after(self._arrivals.expovariate(scenario.rate), self._arrive)

    def play(self) -> Ledger:
        """Let it all happen; return what did."""
        self.loop.run(self.scenario.seconds + _DRAIN)
        return self.ledger

    def _arrive(self) -> None:
        # The sum of the clients' Poisson processes is one, whose calls fall on them at random.
        dice, loop = self._arrivals, self.loop
        client = int(dice.random() * len(self._callers))
        Errand(client, self._callers[client], loop, self.ledger).proceed()
        wait = dice.expovariate(self.scenario.rate)
        if loop.now() + wait < self.scenario.seconds:
            loop.after(wait, self._arrive)

    def _servers(self) -> list[Server]:
        scenario = self.scenario
        speeds = scenario.speeds or [1.0] * len(scenario.slots)
        return [
            Server(
                number,
                self.loop,
                self._dice(f"server {number}"),
                slots=slots,
                queue=scenario.queue,
                service=_slower(scenario.service, speed),
                notices=scenario.notices,
            )
            for number, (slots, speed) in enumerate(zip(scenario.slots, speeds, strict=True))
        ]

    def _dice(self, part: str) -> random.Random:
        return random.Random(f"{self.seed} {part}")  # noqa: S311 - it must replay


def _slower(service: Draw, factor: float) -> Draw:
    return service if factor == 1 else lambda dice: service(dice) * factor
