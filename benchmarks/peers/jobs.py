"""What all contestants of a kind are asked to do."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.harness.turns import (
    AsyncCall,
    Call,
    Turn,
    in_a_row,
    in_a_row_async,
    in_tasks,
    in_threads,
)


@dataclass(frozen=True, slots=True)
class Job:
    """One way to be asked, so many times in a turn.

    Attributes:
        name: in the tables.
        door: the attribute of a contestant that is called.
        calls: in a turn.
        size: texts of a call, or chunks of a stream.
        at_once: calls under way at one time.
        is_async: the door is a coroutine's.
    """

    name: str
    door: str
    calls: int
    size: int = 1
    at_once: int = 1
    is_async: bool = False


def sync_turn(call: Call, job: Job) -> Turn:
    """Return a turn of a job whose door is a function."""
    if job.at_once == 1:
        return in_a_row(call, job.calls)
    return in_threads(call, job.calls, job.at_once)


def async_turn(call: AsyncCall, job: Job) -> Turn:
    """Return a turn of a job whose door is a coroutine's."""
    if job.at_once == 1:
        return in_a_row_async(call, job.calls)
    return in_tasks(call, job.calls, job.at_once)
