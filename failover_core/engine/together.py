"""One job done several times at once, by this thread or task and by others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from functools import partial

from failover_core.engine.workers import in_thread
from failover_core.targets import Target


def places_of(target: Target) -> int:
    """Return the requests that a target may have under way in one piece of work."""
    at_once = getattr(target.client, "requests_at_once", 1)
    return min(at_once, target.max_concurrency or at_once)


def together(job: Callable[[], None], count: int) -> None:
    """Do a job so many times at once: in this thread, and in others."""
    others = [Future[None]() for _ in range(count - 1)]
    for other in others:
        in_thread(partial(_resolve, other, job))
    try:
        job()
    finally:
        wait(others)
    for other in others:
        other.result()


async def atogether(job: Callable[[], Awaitable[None]], count: int) -> None:
    """Do a job so many times at once, in tasks; cancelled, they are as well."""
    if count <= 1:  # a task of its own would only cost
        return await job()
    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(_awaited(job))
    return None


async def _awaited(job: Callable[[], Awaitable[None]]) -> None:
    await job()


def _resolve(future: Future[None], job: Callable[[], None]) -> None:
    try:
        job()
    except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
        future.set_exception(error)
    else:
        future.set_result(None)
