"""The scenarios: fleets, small applications, and what goes wrong with their targets.

Each comes in any size: ``scale`` makes it shorter or takes clients and slots away, but leaves the
load of each server as it is, so that a small run tells the same story in seconds.
"""

from __future__ import annotations

import math
from dataclasses import replace

from benchmarks.simulation.ledger import Span
from benchmarks.simulation.scenario import Fault, Scenario
from benchmarks.simulation.servers import Condition, lognormal

CALM = 60.0
"""Seconds of a run before the trouble."""

SIGMA = 0.5
"""Of the logarithm of service times: their 99th percentile is 3.2 times their median."""

MEAN = math.exp(SIGMA**2 / 2)
"""Of service times, as a multiple of their median."""

DOWN = Condition(refuses=True)
SILENT = Condition(silent=True)
SLOW = Condition(slowness=10.0)


def fleet(scale: float = 1.0, *, condition: Condition = DOWN) -> Scenario:
    """Return 1,000 clients and 8 targets, each fit to serve all, the first 4 of them down 5 min."""
    clients = math.ceil(1_000 * scale)
    length, rest = (300.0, 300.0) if scale == 1 else (120.0, 90.0)
    span = Span(CALM, CALM + length)
    return Scenario(
        slots=[math.ceil(400 * scale)] * 8,
        queue=math.ceil(400 * scale),
        service=lognormal(0.1, SIGMA),
        clients=clients,
        rate=2.0 * clients,
        seconds=span.end + rest,
        patience=10.0,
        attempt_timeout=2.0,
        span=span,
        faults=[Fault(span, range(4), condition)],
    )


def tight_fleet(scale: float = 1.0) -> Scenario:
    """Return a fleet of 200 clients that is busy to 60 %: half of its targets cannot serve all."""
    scenario = fleet(0.2 * scale)
    slots = math.ceil(scenario.rate / 8 * 0.1 * MEAN / 0.6)
    return replace(scenario, slots=[slots] * 8, queue=4 * slots)


def silent_majority(scale: float = 1.0) -> Scenario:
    """Return a fleet of 200 clients of whose eight targets five fall silent."""
    scenario = fleet(0.2 * scale)
    return replace(scenario, faults=[Fault(scenario.span, range(5), SILENT)])


def small(*conditions: Condition, scale: float = 1.0, length: float = 60.0) -> Scenario:
    """Return 3 targets, each fit to serve all, and 40 clients: one company's application.

    Args:
        *conditions: of the first, second and third target for a while; the others are well.
        scale: of the load and of the servers.
        length: of the trouble, in seconds.
    """
    span = Span(CALM, CALM + length)
    clients = math.ceil(40 * scale)
    return Scenario(
        slots=[2 * clients] * 3,
        queue=2 * clients,
        service=lognormal(0.5, SIGMA),
        clients=clients,
        rate=2.0 * clients,
        seconds=span.end + CALM,
        patience=20.0,
        attempt_timeout=5.0,
        span=span,
        faults=[Fault(span, [number], condition) for number, condition in enumerate(conditions)],
    )


def flapping(scale: float = 1.0) -> Scenario:
    """Return the small application, whose first target is down for 5 s of every 15 s."""
    scenario = small(scale=scale)
    starts = range(int(scenario.span.start), int(scenario.span.end), 15)
    return replace(scenario, faults=[Fault(Span(at, at + 5.0), [0], DOWN) for at in starts])


def partition(scale: float = 1.0) -> Scenario:
    """Return it with half of the clients cut off from a target, some from two."""
    clients = math.ceil(40 * scale)
    half, quarter = (frozenset(range(clients // part)) for part in (2, 4))
    return small(Condition(cut_off=half), Condition(cut_off=quarter), scale=scale)


def cold_return(scale: float = 1.0) -> Scenario:
    """Return it with a target that was down for 20 s and comes back with cold caches.

    For 40 s it has half of its slots and is 4 times slower: the trouble that figures are about.
    """
    scenario = small(scale=scale)
    start, end = scenario.span.start, scenario.span.start + 40.0
    return replace(
        scenario,
        span=Span(start, end),
        faults=[
            Fault(Span(start - 20.0, start), [0], DOWN),
            Fault(Span(start, end), [0], Condition(capacity=0.5, slowness=4.0)),
        ],
    )


def throttling(scale: float = 1.0) -> Scenario:
    """Return it with a target that answers a quarter of its load, and 429 to the rest."""
    return small(Condition(rate=20.0 * scale), scale=scale)


def clock_jumps(scale: float = 1.0) -> Scenario:
    """Return it throttled by dates in ``Retry-After``, while clocks jump by an hour, and back."""
    scenario = small(Condition(rate=20.0 * scale, dates=True), scale=scale)
    start = scenario.span.start
    return replace(scenario, jumps=[(start + 10, 3_600.0), (start + 30, -7_200.0)])


def brown_out(scale: float = 1.0) -> Scenario:
    """Return 4 targets, busy to 57 %, which all lose nine tenths of their slots for two minutes.

    A queue is as long as its server has slots: with a tenth of them left, 6 s long.
    """
    span = Span(CALM, CALM + 120.0)
    clients = 10 * math.ceil(10 * scale)
    return Scenario(
        slots=[clients // 2] * 4,
        queue=clients // 2,
        service=lognormal(0.5, SIGMA),
        clients=clients,
        rate=2.0 * clients,
        seconds=span.end + 2 * CALM,
        patience=30.0,
        attempt_timeout=30.0,
        span=span,
        faults=[Fault(span, range(4), Condition(capacity=0.1))],
    )


def collapse(scale: float = 1.0) -> Scenario:
    """Return the brown-out of one minute where it is worst: nobody waits for the queues' ends.

    They are 17 times as long as slots: 10 s even with all slots at work, and attempts wait for 5 s.
    What they abandon is worked off all the same, so that the overload feeds itself.
    """
    scenario = brown_out(scale)
    span = Span(CALM, 2 * CALM)
    return replace(
        scenario,
        queue=17 * scenario.slots[0],
        patience=10.0,
        attempt_timeout=5.0,
        seconds=span.end + 3 * CALM,
        span=span,
        faults=[Fault(span, range(4), Condition(capacity=0.1))],
    )


def stalls(scale: float = 1.0, *, condition: Condition | None = None) -> Scenario:
    """Return the small application with a target that stalls one answer in twenty.

    Args:
        scale: of the length.
        condition: of the first target: 10 times the median longer, unless given.
    """
    stall = condition or Condition(stall_share=0.05, stall=5.0)
    scenario = small(stall, length=CALM + 600 * scale)
    # Hedging starts when latencies are known; figures are those of the time after.
    span = Span(2 * CALM, scenario.span.end)
    return replace(scenario, span=span, attempt_timeout=scenario.patience)


def unequal(scale: float = 1.0) -> Scenario:
    """Return 2 targets and a third that is 4 times slower, at 80 % of their joint capacity."""
    slots, joint = 20, 1 + 1 + 1 / 4
    span = Span(CALM, CALM + 600 * scale)
    return Scenario(
        slots=[slots] * 3,
        speeds=[1.0, 1.0, 4.0],
        queue=200,
        service=lognormal(0.5, SIGMA),
        clients=10,
        rate=0.8 * joint * slots / (0.5 * MEAN),
        seconds=span.end,
        patience=30.0,
        attempt_timeout=30.0,
        span=span,
    )
