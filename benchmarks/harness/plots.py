"""Plots of a section, as SVG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from benchmarks.harness.markdown import digits
from benchmarks.harness.records import Plot, Series, Shape

_STYLE: Any = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 8,
    "svg.fonttype": "none",  # a tenth of the size of outlines
    "svg.hashsalt": "benchmarks",  # the same figures make the same file
}
_WIDTH = 8.0
_LETTERS, _SIGN = 150, 8
"""Of the legend, in a row; what a colour takes of them."""


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
            longest = max(len(one.name) for one in plot.series)
            columns = max(1, _LETTERS // (longest + _SIGN))
            figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=7)
        figure.savefig(path, metadata={"Date": None})


def _draw_lines(axes: Axes, plot: Plot) -> None:
    for one in plot.series:
        axes.plot(np.asarray(one.x, float), one.y, label=one.name, marker=".", **_strength(one))
    axes.set_xlabel(plot.x_label)
    axes.set_ylabel(plot.y_label)
    _scale(axes.xaxis, axes.set_xscale, is_log="x" in plot.log)
    _scale(axes.yaxis, axes.set_yscale, is_log="y" in plot.log)


def _draw_bars(axes: Axes, plot: Plot) -> None:
    """Draw groups of horizontal bars: a group for each label, a colour for each series."""
    labels = list(dict.fromkeys(str(label) for one in plot.series for label in one.x))
    thickness = 0.8 / len(plot.series)
    taken = dict.fromkeys(labels, 0)
    for one in plot.series:
        places = []
        for label in map(str, one.x):
            places.append(labels.index(label) + taken[label] * thickness)
            taken[label] += 1
        lengths = [value - plot.base for value in one.y]
        strength = 1.0 if one.is_ours else 0.55
        drawn = axes.barh(places, lengths, thickness, plot.base, label=one.name, alpha=strength)
        axes.bar_label(drawn, [f" {digits(value)}" for value in one.y], fontsize=6)
    middles = [place + (taken[label] - 1) * thickness / 2 for place, label in enumerate(labels)]
    axes.set_yticks(middles, labels)
    axes.invert_yaxis()
    axes.set_xlabel(plot.y_label)
    _scale(axes.xaxis, axes.set_xscale, is_log="y" in plot.log)
    axes.margins(x=0.08)


def _scale(axis: Axis, rescale: Callable[[str], None], *, is_log: bool) -> None:
    if is_log:
        rescale("log")
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))


def _strength(one: Series) -> dict[str, Any]:
    return {"lw": 1.8, "ls": "-"} if one.is_ours else {"lw": 1.0, "ls": ":"}
