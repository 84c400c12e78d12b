"""What the engine adds to a healthy call: ``python -m benchmarks.engine``.

The function that is called does nothing, so all the time is the engine's. Each row is the median
of interleaved rounds, in microseconds a call, and the smallest round beside it: the median shows
how busy the machine is, the smallest what the code costs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from failover_core import Router

CALLS = 20_000
ROUNDS = 9

EVERYTHING: dict[str, Any] = {
    "attempt_timeout": 30,
    "total_timeout": 60,
    "retry": {"attempts": 3},
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
    defaults, full = (Router([Client() for _ in range(3)], policy=p) for p in (None, EVERYTHING))
    rows: dict[str, Callable[[], None]] = {
        "bare call": lambda: _bare(Client()),
        "run, defaults": lambda: _sync(defaults),
        "run, all timeouts and retries on": lambda: _sync(full),
        "arun, defaults": lambda: asyncio.run(_async(defaults)),
        "arun, all timeouts and retries on": lambda: asyncio.run(_async(full)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, row in rows.items():
            started = time.perf_counter()
            row()
            seconds[name].append((time.perf_counter() - started) / CALLS)
    print("| healthy call | median µs | smallest µs |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        print(f"| {name} | {median(taken) * 1e6:.1f} | {min(taken) * 1e6:.1f} |")


def _bare(client: Client) -> None:
    for _ in range(CALLS):
        client.call()


def _sync(router: Router) -> None:
    for _ in range(CALLS):
        router.run(Client.call)


async def _async(router: Router) -> None:
    for _ in range(CALLS):
        await router.arun(Client.acall)


if __name__ == "__main__":
    main()
