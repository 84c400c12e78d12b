"""From turns to rows: medians with quartiles, and ratios within the round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, quantiles

from benchmarks.harness.records import NOT_INSTALLED, Figure, Goal, Plot, Row, Series, Shape, Table
from benchmarks.harness.turns import Laps

_OURS = ("Failover", "Router")

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
    absent: str = NOT_INSTALLED,
) -> list[Row]:
    """Return a row for each contestant, with its times and how many times the bare ones they are.

    Args:
        bare: the contestant that the others are compared with.
        found: the turns of those that are installed.
        names: all contestants, if some may be missing.
        goals: for the wall time's ratio.
        job: what begins the name of every row.
        absent: why a name is not in ``found``.
    """
    rows = []
    base = found[bare]
    for name in names or found:
        shown = f"{job}: {name}" if job else name
        own = found.get(name)
        if own is None:
            rows.append(Row(shown, (absent, "", "", "")))
            continue
        times = figure(own.wall, "s"), figure(own.cpu, "s")
        if name == bare:
            rows.append(Row(shown, (*times, "", "")))
            continue
        wall = ratio(own.wall, base.wall, (goals or {}).get(name))
        rows.append(Row(shown, (*times, wall, ratio(own.cpu, base.cpu))))
    return rows


def speedup(ours: Laps | None, theirs: Laps | None, goal: Goal | None = None) -> Figure | str:
    """Return how many calls ours makes in the time of one of theirs, within the round."""
    if ours is None or theirs is None:
        return NOT_INSTALLED
    return ratio(theirs.wall, ours.wall, goal)


def jobs_table(
    title: str,
    bare: str,
    found: Mapping[str, Mapping[str, Laps]],
    names: Sequence[str],
    goals: Mapping[str, Goal] | None = None,
) -> Table:
    """Return a table of several jobs of the same contestants.

    Args:
        title: of the table.
        bare: the contestant that the others are compared with.
        found: the turns of each job.
        names: all contestants.
        goals: of the contestants that have one in every job.
    """
    rows = [
        row for job, laps in found.items() for row in rows_beside(bare, laps, names, goals, job)
    ]
    return Table(title, ("", *TIMES), tuple(rows))


def jobs_plot(
    name: str, title: str, bare: str, found: Mapping[str, Mapping[str, Laps]], names: Sequence[str]
) -> Plot:
    """Return a plot of the ratios to the bare call; ours begin with ``_OURS``."""
    series = []
    for one in names:
        if one == bare:
            continue
        jobs = {
            job: ratio(laps[one].wall, laps[bare].wall).value
            for job, laps in found.items()
            if one in laps
        }
        series.append(Series(one, tuple(jobs.values()), tuple(jobs), one.startswith(_OURS)))
    return Plot(name, title, "", f"times {bare}", tuple(series), Shape.BARS, log="y", base=1.0)
