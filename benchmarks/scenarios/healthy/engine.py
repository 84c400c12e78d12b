"""What the engine adds to a call that does nothing, beside retries and breakers around the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from benchmarks.harness.comparing import figure, jobs_plot
from benchmarks.harness.records import NOT_INSTALLED, Cell, Effort, Goal, Plot, Row, Section, Table
from benchmarks.harness.turns import Laps, Turn, in_a_row, in_a_row_async, take_turns
from benchmarks.peers.guards import GUARDS, anothing, nothing
from benchmarks.scenarios.healthy import section
from failover_core import Router, Target

TEXT = """
The function that is called does nothing, so that all the time is the engine's. Beside it, retries
and breakers around the same. pybreaker's coroutines need tornado.
"""

BARE = "bare"
EVERYTHING = "Router, everything on"
GOAL = Goal(at_most=10e-6, why="the decisions take 9.7 µs in both modes, and a coroutine some more")

TIMED: dict[str, Any] = {"attempt_timeout": 30, "total_timeout": 60, "retry": {"attempts": 3}}
FULL: dict[str, Any] = {**TIMED, "adaptive_throttle": True, "spend_limit": 1e9}
HEDGED: dict[str, Any] = {**FULL, "hedge": {"after": "p95"}}
LIMITS: dict[str, Any] = {
    "max_concurrency": 1_000,
    "requests_per_minute": 1e9,
    "requests_per_day": 10**9,
    "tokens_per_minute": 1e9,
    "price": (1, 2),
    "spend_limit": 1e9,
}


class Client:
    """A client that keeps to deadlines itself, as this library's HTTP clients do."""

    enforces_deadline = True

    def call(self) -> int:
        """Do nothing."""
        return 1

    async def acall(self) -> int:
        """Do nothing."""
        return 1

    def close(self) -> None:
        """Do nothing."""


def measure(effort: Effort) -> Section:
    """Measure routers of three targets."""
    return section("the engine alone", TEXT, _shown_by(effort))


def _shown_by(effort: Effort) -> Iterator[tuple[Table, Plot]]:
    calls = effort.of(5_000, quick=1_000)
    doors = dict(zip(("sync", "async"), _turns(calls), strict=True))
    found = {job: take_turns(turns, effort.of(15, quick=3)) for job, turns in doors.items()}
    names = (*found["sync"], *(name for name in GUARDS if name not in found["sync"]))
    title = "The engine alone, a call that does nothing"
    table = Table(title, ("", "run", "CPU", "arun", "CPU"), tuple(_rows(names, found)))
    yield table, jobs_plot("times", title, BARE, found, names)


def _rows(names: tuple[str, ...], found: dict[str, dict[str, Laps]]) -> Iterator[Row]:
    for name in names:
        goal = GOAL if name == EVERYTHING else None
        cells: list[Cell] = []
        for laps in found.values():
            if name in laps:
                cells += [figure(laps[name].wall, "s", goal), figure(laps[name].cpu, "s")]
            else:
                missing = "-" if name in found["sync"] else NOT_INSTALLED
                cells += [missing, ""]
        yield Row(name, tuple(cells))


def _turns(calls: int) -> tuple[dict[str, Turn], dict[str, Turn]]:
    sync: dict[str, Turn] = {BARE: in_a_row(nothing, calls)}
    concurrent: dict[str, Turn] = {BARE: in_a_row_async(anothing, calls)}
    for name, router in _routers().items():
        sync[name] = in_a_row(partial(router.run, Client.call), calls)
        concurrent[name] = in_a_row_async(partial(router.arun, Client.acall), calls)
    for name, build in GUARDS.items():
        with suppress(ImportError):
            call, acall = build()
            sync[name] = in_a_row(call, calls)
            if acall:
                concurrent[name] = in_a_row_async(acall, calls)
    return sync, concurrent


def _routers() -> dict[str, Router]:
    def limited() -> list[Target]:
        return [Target(Client(), name=name, **LIMITS) for name in "abc"]

    return {
        "Router, defaults": Router([Client() for _ in range(3)]),
        "Router, timeouts, retries": Router([Client() for _ in range(3)], policy=TIMED),
        EVERYTHING: Router(limited(), policy=FULL),
        f"{EVERYTHING}, least_loaded": Router(limited(), policy=FULL, strategy="least_loaded"),
        f"{EVERYTHING}, hedging too": Router(limited(), policy=HEDGED, strategy="least_loaded"),
    }
