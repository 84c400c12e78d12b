"""A Markdown table of what was measured, beside what it is compared with and what is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure and what it should be.

    Attributes:
        figure: measured.
        at_least: what it should not fall below.
        at_most: what it should not exceed.
        unit: of all three.
    """

    figure: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"

    def __str__(self) -> str:
        """Return two cells: the figure, and the goal."""
        figure, limit, sign = f"{self.figure:.4g}{self.unit}", self.at_least, "≥"
        is_met = limit is None or self.figure >= limit
        if limit is None:
            limit, sign = self.at_most, "≤"
            is_met = limit is None or self.figure <= limit
        if limit is None:
            return f"{figure} |"
        return f"{figure} | {sign} {limit:g}{self.unit}{'' if is_met else ', **missed**'}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was measured, ours, what it is compared with, and the goal if there is one."""

    what: str
    ours: str
    beside: str
    goal: Goal | str = "|"


def print_table(rows: Iterable[Row]) -> None:
    """Print the rows as they come."""
    print("| what | ours | beside it | figure | goal |\n| --- | --- | --- | --- | --- |")
    for row in rows:
        print(f"| {row.what} | {row.ours} | {row.beside} | {row.goal} |", flush=True)
