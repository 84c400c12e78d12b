"""What the engine adds to a healthy call: ``python -m benchmarks.engine``.

The function that is called does nothing, so all the time is the engine's. Each row is the median
of interleaved rounds, in microseconds a call, and the smallest round beside it: the median shows
how busy the machine is, the smallest what the code costs.

Hedging has rows of its own: it takes a timer for each async call, and a thread for each sync one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

from failover_core import Router, Target

CALLS = 10_000
ROUNDS = 9

TIMED: dict[str, Any] = {"attempt_timeout": 30, "total_timeout": 60, "retry": {"attempts": 3}}
EVERYTHING: dict[str, Any] = {**TIMED, "adaptive_throttle": True, "spend_limit": 1e9}
HEDGED: dict[str, Any] = {**EVERYTHING, "hedge": {"after": "p95"}}
LIMITS: dict[str, Any] = {
    "max_concurrency": 1_000,
    "requests_per_minute": 1e9,
    "requests_per_day": 10**9,
    "tokens_per_minute": 1e9,
    "price": (1, 2),
    "spend_limit": 1e9,
}


class Client:
    """A client that keeps to deadlines itself, as this library's HTTP clients do."""

    enforces_deadline = True

    def call(self) -> int:
        """Do nothing."""
        return 1

    async def acall(self) -> int:
        """Do nothing."""
        return 1

    def close(self) -> None:
        """Do nothing."""


def main() -> None:
    """Measure and print a Markdown table."""
    rows: dict[str, Callable[[], None]] = {"bare call": lambda: _bare(Client())}
    for name, router in _routers().items():
        rows[f"run, {name}"] = partial(_sync, router)
        rows[f"arun, {name}"] = partial(_run_async, router)
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, row in rows.items():
            started = time.perf_counter()
            row()
            seconds[name].append((time.perf_counter() - started) / CALLS)
    print("| healthy call | median µs | smallest µs |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        print(f"| {name} | {median(taken) * 1e6:.1f} | {min(taken) * 1e6:.1f} |")


def _routers() -> dict[str, Router]:
    def limited() -> list[Target]:
        return [Target(Client(), name=name, **LIMITS) for name in "abc"]

    return {
        "defaults": Router([Client() for _ in range(3)]),
        "timeouts and retries": Router([Client() for _ in range(3)], policy=TIMED),
        "every limit too": Router(limited(), policy=EVERYTHING),
        "every limit, least_loaded": Router(limited(), policy=EVERYTHING, strategy="least_loaded"),
        "hedging too": Router(limited(), policy=HEDGED, strategy="least_loaded"),
    }


def _bare(client: Client) -> None:
    for _ in range(CALLS):
        client.call()


def _sync(router: Router) -> None:
    for _ in range(CALLS):
        router.run(Client.call)


def _run_async(router: Router) -> None:
    asyncio.run(_async(router))


async def _async(router: Router) -> None:
    for _ in range(CALLS):
        await router.arun(Client.acall)


if __name__ == "__main__":
    main()
