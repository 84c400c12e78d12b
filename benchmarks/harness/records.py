"""What was measured, as it is kept in ``results.json`` and shown on the page."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Effort(StrEnum):
    """How much is run."""

    FULL = "full"
    QUICK = "quick"

    def of(self, full: int, *, quick: int) -> int:
        """Return how many rounds, calls or texts that means."""
        return quick if self is Effort.QUICK else full


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be.

    Attributes:
        at_least: what it should not fall below.
        at_most: what it should not exceed.
        why: a line to be shown if it is missed.
    """

    at_least: float | None = None
    at_most: float | None = None
    why: str = ""

    def is_met_by(self, value: float) -> bool:
        """Say whether a value is within the bounds."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell.

    Attributes:
        value: the median, where there were several.
        unit: ``s`` (shown as µs, ms or s), ``×``, ``MiB``, ``/s``, or nothing for a count.
        low: the lower quartile.
        high: the upper quartile.
        goal: what it should be.
    """

    value: float
    unit: str = ""
    low: float | None = None
    high: float | None = None
    goal: Goal | None = None


Cell = Figure | str
"""A figure, or why there is none."""

NOT_INSTALLED = "not installed"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under one head; ``columns`` has one name more than a row has cells."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


class Shape(StrEnum):
    """How a plot shows its series."""

    BARS = "bars"
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot, or one bar for each label; ours are drawn more strongly."""

    name: str
    y: tuple[float, ...]
    x: tuple[float, ...] | tuple[str, ...]
    is_ours: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of series.

    Attributes:
        name: of the file, after the scenario's.
        title: above the picture.
        x_label: of the horizontal axis.
        y_label: of the vertical axis; bars have theirs horizontally.
        series: what is drawn.
        shape: bars (``x`` are labels) or lines (``x`` are numbers).
        log: the axes with a logarithmic scale: "", "x", "y" or "xy".
        base: where bars begin.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    shape: Shape = Shape.LINES
    log: str = ""
    base: float = 0.0


@dataclass(frozen=True, slots=True)
class Section:
    """What a scenario found.

    Attributes:
        title: of its chapter.
        text: what was done, in Markdown.
        tables: what was found.
        plots: the same to look at.
    """

    title: str
    text: str
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """Where and when a section was measured.

    Attributes:
        date: of the day, UTC.
        cpus: how many the process may use.
        system: the kernel and the architecture.
        python: the version.
        load: processes that ran or waited for a CPU when it began, in the last minute.
        versions: of the distributions concerned; empty if not installed.
    """

    date: str
    cpus: int
    system: str
    python: str
    load: float
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    """A section, and how it came about."""

    section: Section
    machine: Machine
    effort: Effort
    seconds: float
