"""How fast something grows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np

from benchmarks.harness.comparing import figure
from benchmarks.harness.records import Figure, Plot, Series

Costs = Mapping[int, Sequence[float]]
"""By size: seconds a call, of each round."""


def slope(costs: Costs) -> float:
    """Return the exponent of the power of the size that fits the costs best (least squares)."""
    sizes = np.log(list(costs))
    medians = np.log([median(rounds) for rounds in costs.values()])
    return float(np.polyfit(sizes, medians, 1)[0])


def slope_cell(costs: Costs) -> Figure:
    """Return the slope as a cell."""
    return Figure(round(slope(costs), 2))


def cost_cells(costs: Costs, sizes: Sequence[int]) -> tuple[Figure | str, ...]:
    """Return the costs at these sizes; nothing where none was measured."""
    return tuple(figure(costs[size], "s") if size in costs else "" for size in sizes)


def curves(
    name: str, title: str, x_label: str, found: Mapping[str, Costs], *, bare: Sequence[str] = ()
) -> Plot:
    """Return a plot of all costs, with their slopes.

    Args:
        name: of the file.
        title: above it.
        x_label: what there is more and more of.
        found: the costs of each contestant.
        bare: those that are not ours.
    """
    series = tuple(
        Series(
            f"{label} (slope {slope(costs):.2f})",
            tuple(median(rounds) * 1e6 for rounds in costs.values()),
            tuple(costs),
            is_ours=label not in bare,
        )
        for label, costs in found.items()
    )
    return Plot(name, title, x_label, "µs a call", series, log="xy")
