"""Processes of their own: for scenarios, for peers that must not meet us, for a fresh memory."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from benchmarks.harness.turns import Lap, Turn, settle

P = ParamSpec("P")
T = TypeVar("T")

OTHER = Path(sys.prefix, "other")
"""Distributions that cannot be installed beside this one, each in a folder of its own."""

_QUIET = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it is downloaded when litellm is imported
    "LANGSMITH_TRACING": "false",
}
"""Environment of all processes: nobody talks to the world."""

_SPAWN = multiprocessing.get_context("spawn")
_turns: list[Turn] = []
"""Of this process, if it is a worker."""


def alone(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a function of a module returns when it is called in a fresh process."""
    with ProcessPoolExecutor(1, _SPAWN, _begin) as process:
        return process.submit(_told, partial(function, *args, **kwargs)).result()


class Worker:
    """A process of its own in which contestants take their turns.

    Args:
        process: that it is.
        is_there: what it is for is installed.
    """

    def __init__(self, process: ProcessPoolExecutor, *, is_there: bool = True) -> None:
        self._process = process
        self._is_there = is_there

    def turn(self, build: Callable[P, Turn], *args: P.args, **kwargs: P.kwargs) -> Turn | None:
        """Build a turn over there; return one that runs it, None if a package is missing.

        Args:
            build: a function of a module.
            args: of it; what can be pickled.
            kwargs: as ``args``.
        """
        if not self._is_there:
            return None
        place = self._process.submit(_told, partial(_build, build, *args, **kwargs)).result()
        if place is None:
            return None
        return lambda: self._process.submit(_told, partial(_run, place)).result()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function of a module returns over there."""
        return self._process.submit(_told, partial(function, *args, **kwargs)).result()


@contextmanager
def worker(other: str = "") -> Iterator[Worker]:
    """Start a worker.

    Args:
        other: a folder in ``OTHER`` whose packages go before those that are installed.
    """
    with ProcessPoolExecutor(1, _SPAWN, _begin, (other,)) as process:
        yield Worker(process, is_there=_has(other))


@contextmanager
def served(module: str, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run ``python -m module``, which prints its URL first; yield that and the process."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def printed(code: str, *arguments: str, other: str = "") -> str:
    """Return the last line that Python code prints in an interpreter of its own.

    Args:
        code: to run.
        arguments: its ``sys.argv[1:]``.
        other: as of ``worker``.

    Raises:
        ImportError: it needs what is not installed.
    """
    if not _has(other):
        raise ImportError(other)
    environment = {**os.environ, **_QUIET, "PYTHONPATH": str(OTHER / other) if other else ""}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else we alone would be compiled anew
    command = [sys.executable, "-P", "-c", code, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603 - ours
    if "ModuleNotFoundError" in done.stderr:
        raise ImportError(done.stderr)
    done.check_returncode()
    return done.stdout.splitlines()[-1]


def _has(other: str) -> bool:
    return not other or (OTHER / other).is_dir()


def _told(job: Callable[[], T]) -> T:
    """Do a job; what it raises may be of a kind that cannot be sent."""
    try:
        return job()
    except Exception:  # noqa: BLE001 - as said
        raise RuntimeError(traceback.format_exc()) from None


def _begin(other: str = "") -> None:
    # What the contestants have to say about it is not the question here.
    logging.disable()
    warnings.simplefilter("ignore")
    os.environ.update(_QUIET)
    if other:
        sys.path.insert(0, str(OTHER / other))


def _build(build: Callable[P, Turn], /, *args: P.args, **kwargs: P.kwargs) -> int | None:
    try:
        _turns.append(build(*args, **kwargs))
    except ImportError:
        return None
    return len(_turns) - 1


def _run(place: int) -> Lap:
    lap = _turns[place]()
    settle()
    return lap
