"""The scenarios that are played, with the policies that are compared in each.

Every study comes in any size: ``scale`` shortens it and takes clients away, but leaves the load of
each server as it is, so that a small run tells the same story in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.simulation.ledger import Span
from benchmarks.simulation.policies import (
    COOLDOWNS,
    FALLBACKS,
    PEERS,
    RETRIES,
    Policy,
    ours,
)
from benchmarks.simulation.scenario import Fault, Scenario
from benchmarks.simulation.servers import Condition, lognormal

_CALM = 60.0
"""Seconds of a run before and after the trouble."""

_SIGMA = 0.5
"""Of the logarithm of service times: their 99th percentile is 3.2 times their median."""


@dataclass(frozen=True, slots=True)
class Study:
    """A scenario and the policies that are compared in it.

    Attributes:
        question: that it answers.
        scenario: that is played.
        policies: of the clients, in the order of the table.
    """

    question: str
    scenario: Scenario
    policies: Sequence[Policy]


def fleet(scale: float = 1.0, *, condition: Condition = Condition(refuses=True)) -> Scenario:  # noqa: B008
    """1,000 clients and 8 targets, each of which could serve all; the first 4 are down 5 min."""
    clients = math.ceil(1_000 * scale)
    length = 300.0 if scale == 1 else 120.0
    span = Span(_CALM, _CALM + length)
    return Scenario(
        name="fleet",
        slots=[math.ceil(400 * scale)] * 8,
        queue=math.ceil(400 * scale),
        service=lognormal(0.1, _SIGMA),
        clients=clients,
        rate=2.0 * clients,
        seconds=span.end + 2 * _CALM,
        patience=10.0,
        attempt_timeout=2.0,
        span=span,
        faults=[Fault(span, range(4), condition)],
    )


def small(name: str, *conditions: Condition, scale: float = 1.0, length: float = 60.0) -> Scenario:
    """Three targets and 40 clients, 20 calls a second: what a company's own application may be.

    Args:
        name: of the scenario.
        *conditions: of the first, second and third target for a while; the others are well.
        scale: of the rate.
        length: of the trouble, in seconds.
    """
    span = Span(_CALM, _CALM + length)
    clients = math.ceil(40 * scale)
    return Scenario(
        name=name,
        slots=[math.ceil(80 * scale)] * 3,
        queue=math.ceil(80 * scale),
        service=lognormal(0.5, _SIGMA),
        clients=clients,
        rate=2.0 * clients,
        seconds=span.end + _CALM,
        patience=20.0,
        attempt_timeout=10.0,
        span=span,
        faults=[Fault(span, [number], condition) for number, condition in enumerate(conditions)],
    )


def flapping(scale: float = 1.0) -> Scenario:
    """The first target is down for 5 s of every 15 s."""
    scenario = small("flapping", scale=scale)
    starts = range(int(scenario.span.start), int(scenario.span.end), 15)
    outage = Condition(refuses=True)
    faults = [Fault(Span(start, start + 5.0), [0], outage) for start in starts]
    return replace(scenario, faults=faults)


def partition(scale: float = 1.0) -> Scenario:
    """Half of the clients cannot reach the first target, a quarter not the second one either."""
    clients = math.ceil(40 * scale)
    half, quarter = (frozenset(range(clients // part)) for part in (2, 4))
    return small("partition", Condition(cut_off=half), Condition(cut_off=quarter), scale=scale)


def clock_jumps(scale: float = 1.0) -> Scenario:
    """The first target throttles, and the clients' wall clocks jump by an hour, to and fro."""
    scenario = small("clock jumps", Condition(rate=20.0 * scale), scale=scale)
    start = scenario.span.start
    return replace(scenario, jumps=[(start + 10, 3_600.0), (start + 30, -7_200.0)])


def brown_out(scale: float = 1.0, *, queue: float = 1.0, length: float = 120.0) -> Scenario:
    """All targets keep a tenth of their slots for a while.

    Args:
        scale: of the fleet.
        queue: requests that may wait at a server, as a multiple of its slots.
        length: of the trouble, in seconds.
    """
    span = Span(_CALM, _CALM + length)
    clients = math.ceil(200 * scale)
    slots = 10 * math.ceil(10 * scale)
    return Scenario(
        name="brown-out",
        slots=[slots] * 4,
        queue=math.ceil(slots * queue),
        service=lognormal(0.5, _SIGMA),
        clients=clients,
        rate=2.0 * clients,
        seconds=span.end + 2 * _CALM,
        patience=30.0,
        attempt_timeout=30.0,
        span=span,
        faults=[Fault(span, range(4), Condition(capacity=0.1))],
    )


def stalls(scale: float = 1.0) -> Scenario:
    """One of three targets takes 10 times the median longer for a twentieth of its answers."""
    scenario = small("stalls", Condition(stall_share=0.05, stall=5.0), length=600 * scale)
    return replace(scenario, span=Span(_CALM + 30, scenario.span.end))


def unequal(scale: float = 1.0) -> Scenario:
    """Two targets and a third that is four times slower, at 80 % of what they can do together."""
    slots, mean = 20, 0.5 * math.exp(_SIGMA**2 / 2)
    span = Span(_CALM, _CALM + 600 * scale)
    return Scenario(
        name="unequal servers",
        slots=[slots] * 3,
        speeds=[1.0, 1.0, 4.0],
        queue=200,
        service=lognormal(0.5, _SIGMA),
        clients=10,
        rate=0.8 * 2.25 * slots / mean,
        seconds=span.end,
        patience=30.0,
        attempt_timeout=30.0,
        span=span,
    )


_SPREADING = tuple(ours(name, name) for name in ("round_robin", "least_loaded"))
_OURS = (ours("priority"), *_SPREADING)
_THROTTLED = ours("priority, adaptive_throttle", adaptive_throttle=True, total_timeout=30.0)
_HEDGED = ours("round_robin, hedged", "round_robin", hedge={"after": "p95", "budget": 0.05})
_BESIDE = (*_OURS, *PEERS)

_DOWN, _SLOW, _SILENT = Condition(refuses=True), Condition(slowness=10.0), Condition(silent=True)

Maker = Callable[[float], Study]

STUDIES: dict[str, Maker] = {
    "fleet": lambda scale: Study(
        "Half of a fleet's targets are down: who storms whom?",
        fleet(scale),
        (*_OURS, FALLBACKS, RETRIES, COOLDOWNS),
    ),
    "fleet-silent": lambda scale: Study(
        "The same, but the targets fall silent instead of refusing connections.",
        fleet(scale, condition=_SILENT),
        (*_OURS, FALLBACKS, COOLDOWNS),
    ),
    "brown-out": lambda scale: Study(
        "All targets keep a tenth of their capacity; their queues are short.",
        brown_out(scale),
        (ours("priority", total_timeout=30.0), _THROTTLED, FALLBACKS, RETRIES, COOLDOWNS),
    ),
    "brown-out-deep": lambda scale: Study(
        "The same with queues so deep that nobody waits for their ends.",
        brown_out(scale, queue=5.0),
        (ours("priority", total_timeout=30.0), _THROTTLED, FALLBACKS, RETRIES, COOLDOWNS),
    ),
    "stalls": lambda scale: Study(
        "One target stalls a twentieth of its answers: what does a second send buy?",
        stalls(scale),
        (ours("round_robin", "round_robin"), _HEDGED),
    ),
    "unequal": lambda scale: Study(
        "One of three targets is four times slower, and there is little to spare.",
        unequal(scale),
        (*_SPREADING, COOLDOWNS),
    ),
} | {
    f"small-{name}": partial(
        lambda make, question, scale: Study(question, make(scale), _BESIDE), *row
    )
    for name, *row in (
        ("outage", lambda scale: small("outage", _DOWN, scale=scale), "The first target is down."),
        ("silent", lambda scale: small("silent", _SILENT, scale=scale), "It never answers."),
        ("slow", lambda scale: small("slow", _SLOW, scale=scale), "It is ten times slower."),
        ("flapping", flapping, "It is down for 5 s of every 15 s."),
        ("partition", partition, "Half of the clients cannot reach it, a quarter not the second."),
        (
            "throttling",
            lambda scale: small("throttling", Condition(rate=20.0 * scale), scale=scale),
            "It answers 429 to all but a quarter of the calls.",
        ),
        (
            "correlated",
            lambda scale: small("correlated", _DOWN, _DOWN, _DOWN, scale=scale, length=30.0),
            "All targets are down for half a minute.",
        ),
        ("clock-jumps", clock_jumps, "It throttles while wall clocks jump by an hour."),
    )
}
