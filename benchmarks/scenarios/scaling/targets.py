"""What the engine takes for a healthy call over more and more targets."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial

from benchmarks.harness.comparing import ratio
from benchmarks.harness.processes import alone
from benchmarks.harness.records import Effort, Figure, Goal, Plot, Row, Table
from benchmarks.harness.turns import Turn, in_a_row, in_a_row_async, take_turns
from benchmarks.scenarios.scaling.growth import Costs, cost_cells, curves, slope_cell
from benchmarks.scenarios.scaling.idle import STRATEGIES, Idle, pool

SIZES = (10, 32, 100, 316, 1_000)
FEW, MANY = SIZES[0], SIZES[-1]

TEXT = """
**Targets.** Calls that do nothing, one after the other, so that all the CPU time is the engine's;
with timeouts of the attempt and of the call, and retries. Memory is what Python's allocator counts
for a router of 1,000 targets that all have served, divided by them.
"""

_GROWTH = Goal(at_most=2.0)
_MEMORY = Goal(at_most=4.0)
_DOORS = ("run", "arun")


def measured(effort: Effort) -> tuple[tuple[Table, ...], tuple[Plot, ...]]:
    """Call over each number of targets."""
    calls, rounds = effort.of(3_000, quick=500), effort.of(15, quick=3)
    names = [f"{strategy}, {door}" for strategy in STRATEGIES for door in _DOORS]
    turns = {f"{name}, {size}": _turn(name, size, calls) for name in names for size in SIZES}
    laps = take_turns(turns, rounds)
    found = {name: {size: laps[f"{name}, {size}"].cpu for size in SIZES} for name in names}
    columns = ("", *(f"{size:,} targets" for size in SIZES), f"{FEW} → {MANY:,}", "slope")
    rows = tuple(_row(name, costs) for name, costs in found.items())
    table = Table("Targets: a healthy call", columns, rows)
    shown = {name: costs for name, costs in found.items() if name.endswith(", run")}
    plot = curves("targets", "A healthy call: CPU time of the engine", "targets", shown)
    return (table, _memory()), (plot,)


def _turn(name: str, size: int, calls: int) -> Turn:
    strategy, door = name.split(", ")
    router = pool(Idle(), size, strategy)
    if door == "run":
        return in_a_row(partial(router.run, Idle.call), calls)
    return in_a_row_async(partial(router.arun, Idle.acall), calls)


def _row(name: str, costs: Costs) -> Row:
    growth = ratio(costs[MANY], costs[FEW], _GROWTH)
    return Row(name, (*cost_cells(costs, SIZES), growth, slope_cell(costs)))


def _memory() -> Table:
    held = alone(_held)
    rows = tuple(Row(name, (Figure(kib, "KiB", goal=_MEMORY),)) for name, kib in held.items())
    return Table("Memory of a target", ("", "memory"), rows)


def _held() -> dict[str, float]:
    """Return the KiB that each target of a large pool holds after its first call."""
    held = {}
    for strategy in STRATEGIES:
        pool(Idle(), FEW, strategy).run(Idle.call)  # what is made once only
        gc.collect()
        tracemalloc.start()
        router = pool(Idle(), MANY, strategy)
        for number in range(MANY):
            router.run(Idle.call, preferred_target=str(number))
        gc.collect()
        held[strategy] = tracemalloc.get_traced_memory()[0] / MANY / 2**10
        tracemalloc.stop()
    return held
