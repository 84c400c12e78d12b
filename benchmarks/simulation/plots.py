"""Plots of a study: a line for each policy, dotted for peers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from benchmarks.simulation.ledger import Ledger, Numbers
from benchmarks.simulation.studies import Study

_SMOOTH = 3
"""Seconds over which lines are averaged, so that they can be told apart."""

_MEDIAN = -math.log10(0.5)
"""In nines: the scale on which the 99th percentile is as far from the 90th as the 99.9th."""


def draw(study: Study, ledgers: Sequence[Ledger], path: Path) -> None:
    """Draw goodput, sends and latencies of a study's runs into a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 8}):
        figure = Figure(figsize=(8, 6.5), layout="constrained")
        goodput, sends, latency = figure.subplots(3, 1)
        for policy, ledger in zip(study.policies, ledgers, strict=True):
            line: dict[str, Any] = {"lw": 1.2, "ls": "-" if policy.is_ours else ":"}
            goodput.plot(_smooth(ledger.goodput_by_second()) * 100, label=policy.name, **line)
            sends.plot(_smooth(_sends(ledger)), **line)
            latency.plot(*_curve(ledger.latencies_of(study.scenario.span)), **line)
        _label(goodput, study.question, "answered in time, %")
        _label(sends, "", "sends a second, all targets")
        _label(latency, "", "latency of answers during it, s")
        for axes in (goodput, sends):
            axes.axvspan(study.scenario.span.start, study.scenario.span.end, alpha=0.08, lw=0)
            axes.set_xlabel("s")
        latency.set_xlabel("percentile")
        goodput.set_ylim(top=102)
        for axes in (sends, latency):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
        _scale_percentiles(latency)
        figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=7)
        figure.savefig(path, dpi=90)


def _sends(ledger: Ledger) -> Numbers:
    loads: Numbers = np.sum([ledger.load(server) for server in range(ledger.servers)], axis=0)
    return loads


def _smooth(numbers: Numbers) -> Numbers:
    return np.convolve(numbers, np.ones(_SMOOTH) / _SMOOTH, mode="valid")


def _curve(latencies: Numbers) -> tuple[Numbers, Numbers]:
    """Return latencies over percentiles, these by the number of nines."""
    nines = np.linspace(_MEDIAN, 3.0, 200)
    if not latencies.size:
        return nines[:0], nines[:0]
    return nines, np.percentile(latencies, 100 * (1 - 10.0**-nines))


def _label(axes: Axes, title: str, label: str) -> None:
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_ylabel(label)
    axes.grid(visible=True, alpha=0.25)


def _scale_percentiles(axes: Axes) -> None:
    axes.set_xticks([_MEDIAN, 1, 1.301, 2, 3], ["50", "90", "95", "99", "99.9"])
