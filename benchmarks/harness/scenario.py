"""Run one scenario in this process."""

from __future__ import annotations

import time
from importlib import import_module

from benchmarks.harness.machine import machine
from benchmarks.harness.records import Effort, Result


def measured(name: str, effort: Effort) -> Result:
    """Return what ``benchmarks.scenarios.<name>`` finds."""
    where, started = machine(), time.perf_counter()
    section = import_module(f"benchmarks.scenarios.{name}").measure(effort)
    return Result(section, where, effort, time.perf_counter() - started)
