"""Tests whose result is a figure: their sizes, and the table at the end of a run.

``make test`` runs each at a size that fits into every run, ``make test-full`` (which sets
``FAILOVER_FULL=1``) at its full size.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

FULL = os.environ.get("FAILOVER_FULL") == "1"

_PROPERTY = "figure"


def size(*, ci: int, full: int) -> int:
    """Return how many of something a run does."""
    return full if FULL else ci


class Figure(Protocol):
    """Notes a part of a row of the table, before the test's verdict on it."""

    def __call__(
        self, row: str, /, *, worst: Mapping[str, float] | None = None, **counts: float
    ) -> None:
        """Add to a row.

        Args:
            row: its name.
            worst: numbers whose largest over all parts of the row is shown.
            **counts: numbers whose sum is shown.
        """


def figure_of(record_property: Any) -> Figure:
    """Return what notes figures of a running test."""

    def figure(row: str, /, *, worst: Mapping[str, float] | None = None, **counts: float) -> None:
        record_property(_PROPERTY, [row, counts, dict(worst or {})])

    return figure


def table(reports: Iterable[Any]) -> list[str]:
    """Return a line for each row that tests have noted."""
    rows: dict[str, dict[str, float]] = {}
    for report in reports:
        if getattr(report, "when", None) != "call":
            continue
        for name, value in report.user_properties:
            if name == _PROPERTY:
                row, counts, worst = value
                _add(rows.setdefault(row, {}), counts, worst)
    width = max(map(len, rows), default=0)
    return [f"{row:{width}} | {_words(rows[row])}" for row in sorted(rows)]


def _add(found: dict[str, float], counts: dict[str, float], worst: dict[str, float]) -> None:
    for name, number in counts.items():
        found[name] = found.get(name, 0) + number
    for name, number in worst.items():
        found[name] = max(found.get(name, number), number)


def _words(found: dict[str, float]) -> str:
    return ", ".join(f"{_number(found[name])} {name.replace('_', ' ')}" for name in found)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"
