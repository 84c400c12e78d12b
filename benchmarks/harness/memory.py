"""How much memory this process holds, and held at its peak, in MiB."""

from __future__ import annotations

import gc
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK_UNITS = 2**20 if sys.platform == "darwin" else 2**10
"""Of what ``getrusage`` says, in a MiB."""


def peak_growth(job: Callable[[], object]) -> float:
    """Return by how much a job raises the peak over what is held before it.

    It means something in a fresh process only: what was freed before is used again.
    """
    gc.collect()
    _forget_peak()
    before = held()
    job()
    return max(0.0, peak() - before)


def held() -> float:
    """Return what is resident now; where the system does not say, the peak."""
    return _status("VmRSS")


def peak() -> float:
    """Return the most that was resident."""
    return _status("VmHWM")


def _status(field: str) -> float:
    # In a child, getrusage begins with the peak of its parent: Linux is asked elsewhere.
    if _STATUS.exists():
        found = re.search(rf"{field}:\s*(\d+) kB", _STATUS.read_text())
        if found:
            return int(found[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PEAK_UNITS


def _forget_peak() -> None:
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")
