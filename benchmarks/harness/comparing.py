"""From turns to rows: medians with quartiles, and ratios within the round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles

from benchmarks.harness.records import NOT_INSTALLED, Figure, Goal, Row
from benchmarks.harness.turns import Laps

TIMES = ("wall", "CPU", "× bare", "CPU × bare")
"""Columns of ``rows_beside``, after the first."""


def figure(values: Sequence[float], unit: str = "", goal: Goal | None = None) -> Figure:
    """Return the median of values, with their quartiles."""
    if len(values) == 1:
        return Figure(values[0], unit, goal=goal)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Figure(median(values), unit, low, high, goal)


def ratio(ours: Sequence[float], theirs: Sequence[float], goal: Goal | None = None) -> Figure:
    """Return how many times theirs ours is, within the round."""
    return figure([own / its for own, its in zip(ours, theirs, strict=True)], "×", goal)


def rows_beside(
    bare: str,
    found: Mapping[str, Laps],
    names: Sequence[str] = (),
    goals: Mapping[str, Goal] | None = None,
    job: str = "",
) -> list[Row]:
    """Return a row for each contestant, with its times and how many times the bare ones they are.

    Args:
        bare: the contestant that the others are compared with.
        found: the turns of those that are installed.
        names: all contestants, if some may be missing.
        goals: for the wall time's ratio.
        job: what begins the name of every row.
    """
    rows = []
    base = found[bare]
    for name in names or found:
        shown = f"{job}: {name}" if job else name
        own = found.get(name)
        if own is None:
            rows.append(Row(shown, (NOT_INSTALLED, "", "", "")))
            continue
        times = figure(own.wall, "s"), figure(own.cpu, "s")
        wall = ratio(own.wall, base.wall, (goals or {}).get(name))
        rows.append(Row(shown, (*times, wall, ratio(own.cpu, base.cpu))))
    return rows


def speedup(ours: Laps | None, theirs: Laps | None, goal: Goal | None = None) -> Figure | str:
    """Return how many calls ours makes in the time of one of theirs, within the round."""
    if ours is None or theirs is None:
        return NOT_INSTALLED
    return ratio(theirs.wall, ours.wall, goal)
