"""Plots of a section, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness.records import Plot, Series, Shape

_STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 8,
    "svg.hashsalt": "benchmarks",  # the same figures make the same file
}
_WIDTH = 8.0


def draw(plot: Plot, path: Path) -> None:
    """Draw a plot into a file."""
    with mpl.rc_context(_STYLE):
        bars = plot.shape is Shape.BARS
        height = 0.9 + 0.17 * sum(len(one.y) for one in plot.series) if bars else 3.6
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        axes = figure.subplots()
        (_draw_bars if bars else _draw_lines)(axes, plot)
        axes.set_title(plot.title, loc="left", fontsize=9)
        axes.grid(visible=True, alpha=0.25, axis="x" if bars else "both")
        if len(plot.series) > 1:
            figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=7)
        figure.savefig(path, metadata={"Date": None})


def _draw_lines(axes: Axes, plot: Plot) -> None:
    for one in plot.series:
        axes.plot(np.asarray(one.x, float), one.y, label=one.name, marker=".", **_strength(one))
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    axes.set_xscale("log" if "x" in plot.log else "linear")
    axes.set_yscale("log" if "y" in plot.log else "linear")


def _draw_bars(axes: Axes, plot: Plot) -> None:
    """Draw groups of horizontal bars: a group for each label, a colour for each series."""
    labels = list(dict.fromkeys(str(label) for one in plot.series for label in one.x))
    thickness = 0.8 / len(plot.series)
    for number, one in enumerate(plot.series):
        places = [labels.index(str(label)) + number * thickness for label in one.x]
        drawn = axes.barh(places, one.y, thickness, label=one.name, alpha=1 if one.is_ours else 0.6)
        axes.bar_label(drawn, fmt=" %.3g", fontsize=6)
    axes.set_yticks([place + 0.4 - thickness / 2 for place in range(len(labels))], labels)
    axes.invert_yaxis()
    axes.set_xlabel(plot.y_label)
    axes.set_xscale("log" if "y" in plot.log else "linear")


def _strength(one: Series) -> dict[str, Any]:
    return {"lw": 1.8, "ls": "-"} if one.is_ours else {"lw": 1.0, "ls": ":"}
