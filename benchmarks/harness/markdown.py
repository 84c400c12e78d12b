"""The page: records to Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from benchmarks.harness.records import Cell, Figure, Goal, Plot, Result, Row, Table

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def page(results: Mapping[str, Result], intro: str) -> str:
    """Return the whole page."""
    parts = [intro, _goals(results)]
    parts += [section(name, result) for name, result in results.items()]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(name: str, result: Result) -> str:
    """Return what a scenario found."""
    found = result.section
    parts = [f"## {found.title}", found.text.strip()]
    parts += [_picture(name, plot) for plot in found.plots]
    parts += [table(one) for one in found.tables]
    parts += [f"*{_origin(name, result)}*"]
    return "\n\n".join(part for part in parts if part)


def table(one: Table) -> str:
    """Return a table with its title, and why goals were missed."""
    head = [f"| {' | '.join(one.columns)} |", f"|{' --- |' * len(one.columns)}"]
    rows = [f"| {row.name} | {' | '.join(map(cell, row.cells))} |" for row in one.rows]
    why = dict.fromkeys(goal.why for _, _, goal in _missed(one.rows) if goal.why)
    notes = [f"- **missed**: {line}" for line in why]
    title = [f"**{one.title}**", ""] if one.title else []
    return "\n".join([*title, *head, *rows, *([""] if notes else []), *notes])


def cell(content: Cell) -> str:
    """Return a cell: the figure, its quartiles, its goal."""
    if isinstance(content, str):
        return content
    shown = amount(content.value, content.unit)
    if content.low is not None and content.high is not None:
        shown += f" ({_range(content.low, content.high, content.unit)})"
    if content.goal:
        verdict = "met" if content.goal.is_met_by(content.value) else "**missed**"
        shown += f"; {_wanted(content.goal, content.unit)}: {verdict}"
    return shown


def amount(value: float, unit: str) -> str:
    """Return a value with its unit, at three digits."""
    if unit == "s":
        scale, unit = _scale(value)
        value /= scale
    return f"{digits(value)}{unit if unit in {'×', '/s', '%'} else f' {unit}'.rstrip()}"


def _range(low: float, high: float, unit: str) -> str:
    scale = _scale(high)[0] if unit == "s" else 1.0
    return f"{digits(low / scale)}-{amount(high, unit) if unit == 's' else digits(high)}"


def _scale(seconds: float) -> tuple[float, str]:
    return next((one for one in _SCALES if abs(seconds) >= one[0]), _SCALES[-1])


def digits(value: float) -> str:
    """Return a number at three digits."""
    if value == int(value) or abs(value) >= 100:  # noqa: PLR2004 - three digits
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"  # noqa: PLR2004 - as above


def _wanted(goal: Goal, unit: str) -> str:
    bounds = ((goal.at_least, "≥"), (goal.at_most, "≤"))
    return ", ".join(f"{sign} {amount(it, unit)}" for it, sign in bounds if it is not None)


def _with_goals(rows: tuple[Row, ...]) -> Iterator[tuple[Row, int, Figure, Goal]]:
    for row in rows:
        for place, content in enumerate(row.cells, 1):
            if isinstance(content, Figure) and content.goal:
                yield row, place, content, content.goal


def _missed(rows: tuple[Row, ...]) -> Iterator[tuple[Row, Figure, Goal]]:
    for row, _, content, goal in _with_goals(rows):
        if not goal.is_met_by(content.value):
            yield row, content, goal


def _goals(results: Mapping[str, Result]) -> str:
    """Return a table of all goals, the missed ones first."""
    met: list[str] = []
    missed: list[str] = []
    for result in results.values():
        for one in result.section.tables:
            for row, place, content, goal in _with_goals(one.rows):
                what = ": ".join(filter(None, (one.title, row.name, one.columns[place])))
                shown = amount(content.value, content.unit)
                is_met = goal.is_met_by(content.value)
                verdict = "met" if is_met else f"**missed**. {goal.why}".strip(". ")
                line = f"| {what} | {shown} | {_wanted(goal, content.unit)} | {verdict} |"
                (met if is_met else missed).append(line)
    if not met and not missed:
        return ""
    head = f"## Goals\n\n{len(met)} met, {len(missed)} missed."
    return "\n".join(
        [head, "", "| | measured | wanted | |", "| --- | --- | --- | --- |", *missed, *met]
    )


def _picture(name: str, plot: Plot) -> str:
    return f"![{plot.title}]({file_name(name, plot)})"


def file_name(name: str, plot: Plot) -> str:
    """Return where a plot of a scenario is drawn."""
    return f"{name}-{plot.name}.svg"


def _origin(name: str, result: Result) -> str:
    machine = result.machine
    quick = "" if result.effort == "full" else ", quick: too few rounds to trust"
    again = f"again: `python -m benchmarks {name}`"
    where = f"{machine.cpus} CPUs, {machine.system}, Python {machine.python}"
    load = f"load {machine.load:.1f} before it"
    return f"{machine.date}, {where}, {load}, {result.seconds:,.0f} s{quick}; {again}"
