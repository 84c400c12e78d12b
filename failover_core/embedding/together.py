"""Threads that work at one job together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

from failover_core.engine.workers import in_thread


def together(job: Callable[[], None], count: int) -> None:
    """Do a job several times at once: in this thread, and in others."""
    others = [Future[None]() for _ in range(count - 1)]
    for other in others:
        in_thread(partial(_resolve, other, job))
    try:
        job()
    finally:
        wait(others)
    for other in others:
        other.result()


def _resolve(future: Future[None], job: Callable[[], None]) -> None:
    try:
        job()
    except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
        future.set_exception(error)
    else:
        future.set_result(None)
