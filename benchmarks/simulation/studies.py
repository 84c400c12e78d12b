"""The studies: each a scenario, and the policies that are compared in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from benchmarks.simulation.catalogue import (
    DOWN,
    SILENT,
    SLOW,
    brown_out,
    clock_jumps,
    cold_return,
    collapse,
    flapping,
    fleet,
    partition,
    silent_majority,
    small,
    stalls,
    throttling,
    tight_fleet,
    unequal,
)
from benchmarks.simulation.policies import (
    COOLDOWNS,
    FALLBACKS,
    PEERS,
    RETRIES,
    SPREAD_FALLBACKS,
    SPREAD_RETRIES,
    Policy,
    ours,
)
from benchmarks.simulation.scenario import Scenario


class _Maker(Protocol):
    def __call__(self, *, scale: float) -> Scenario: ...


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


def spreading(words: str = "", **settings: Any) -> tuple[Policy, ...]:
    """Return our policies that spread calls, with settings that the tables call by some words."""
    names = ("round_robin", "least_loaded")
    return tuple(ours(", ".join(filter(None, (name, words))), name, **settings) for name in names)


PRIORITY = ours("priority")
HEDGED = ours("round_robin, hedge", "round_robin", hedge={})
_SPREAD_PEERS = (SPREAD_FALLBACKS, SPREAD_RETRIES, COOLDOWNS)

_SMALL: dict[str, tuple[str, _Maker]] = {
    "outage": ("One of three targets is down for a minute.", partial(small, DOWN)),
    "silent": ("One of three targets never answers.", partial(small, SILENT)),
    "slow": ("One of three targets is ten times slower.", partial(small, SLOW)),
    "flapping": ("One of three targets is down for 5 s of every 15 s.", flapping),
    "partition": ("Half of the clients cannot reach one target, some not two.", partition),
    "throttling": ("One of three targets answers 429 to three quarters.", throttling),
    "correlated": (
        "All three targets are down for half a minute.",
        partial(small, DOWN, DOWN, DOWN, length=30.0),
    ),
    "clock-jumps": ("A target throttles by dates; wall clocks jump by an hour.", clock_jumps),
}

_STUDIES: dict[str, tuple[str, _Maker, Sequence[Policy]]] = {
    "fleet": (
        "Half of a fleet's targets refuse connections for five minutes.",
        fleet,
        (PRIORITY, *spreading(), FALLBACKS, RETRIES, COOLDOWNS),
    ),
    "fleet-silent": (
        "Half of a fleet's targets fall silent for five minutes.",
        partial(fleet, condition=SILENT),
        (PRIORITY, *spreading(), FALLBACKS, COOLDOWNS),
    ),
    "fleet-tight": (
        "Half of a fleet's targets refuse connections, and the others cannot serve all calls.",
        tight_fleet,
        (*spreading(), SPREAD_FALLBACKS, COOLDOWNS),
    ),
    "fleet-majority": (
        "Five of a fleet's eight targets fall silent.",
        silent_majority,
        (*spreading(), COOLDOWNS),
    ),
    "brown-out": (
        "All targets keep a tenth of their capacity for two minutes; queues are short.",
        brown_out,
        (
            *spreading(total_timeout=30.0),
            *spreading("adaptive_throttle", total_timeout=30.0, adaptive_throttle=True),
            *spreading("max_concurrency 2", total_timeout=30.0, max_concurrency=2),
            *_SPREAD_PEERS,
        ),
    ),
    "collapse": (
        "All targets keep a tenth of their capacity for a minute; queues outlast every patience.",
        collapse,
        (
            *spreading(total_timeout=10.0),
            *spreading("adaptive_throttle", total_timeout=10.0, adaptive_throttle=True),
            *_SPREAD_PEERS,
        ),
    ),
    "stalls": (
        "One of three targets stalls a twentieth of its answers for 10 times the median.",
        stalls,
        (
            *spreading(),
            HEDGED,
            ours("least_loaded, hedge", "least_loaded", hedge={}),
            ours("priority, hedge", hedge={}),
            ours("priority, hedge p90, 10 %", hedge={"after": "p90", "budget": 0.1}),
        ),
    ),
    "unequal": (
        "One of three targets is four times slower than the others; 80 % load.",
        unequal,
        (*spreading(), COOLDOWNS),
    ),
    "cold-return": (
        "One of three targets comes back from an outage with cold caches.",
        cold_return,
        (
            *(PRIORITY, ours("priority, slow_start 0", breaker={"slow_start": 0})),
            *spreading(),
            *spreading("slow_start 0", breaker={"slow_start": 0}),
            *(FALLBACKS, RETRIES, COOLDOWNS),
        ),
    ),
    **{
        f"small-{name}": (question, make, (PRIORITY, *spreading(), HEDGED, *PEERS))
        for name, (question, make) in _SMALL.items()
    },
}

SMALL = tuple(f"small-{name}" for name in _SMALL)
NAMES = tuple(_STUDIES)


def study(name: str, scale: float = 1.0) -> Study:
    """Return the study of that name, in some size."""
    question, make, policies = _STUDIES[name]
    return Study(question, make(scale=scale), policies)
