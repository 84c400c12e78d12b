"""What the engine adds to each of many concurrent calls: ``python -m benchmarks.concurrency``.

10,000 calls are under way at once, over 10 and over 1,000 targets. Each waits until all of them
have been sent, so that all are in flight together. The same tasks without a router are measured
beside them in the same run; the difference is the engine's.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from statistics import median

from failover_core import Router, Target

CALLS = 10_000
ROUNDS = 7
STRATEGIES = ("priority", "round_robin", "weighted", "least_loaded", "fastest", "random")


class Client:
    """A client whose calls all wait for one event."""

    enforces_deadline = True

    def __init__(self) -> None:
        """Begin without an event; each round sets its own."""
        self.arrived = 0
        self.everybody = asyncio.Event()

    async def call(self) -> int:
        """Wait until all calls have arrived."""
        self.arrived += 1
        if self.arrived == CALLS:
            self.everybody.set()
        await self.everybody.wait()
        return 1


def main() -> None:
    """Measure and print a Markdown table."""
    print(f"| {CALLS:,} concurrent calls | µs a call | of them the engine's |")
    print("| --- | --- | --- |")
    for targets in (10, 1_000):
        for strategy in STRATEGIES:
            bare, routed = asyncio.run(_measure(targets, strategy))
            row = f"{targets:,} targets, {strategy}"
            print(f"| {row} | {routed * 1e6:.1f} | {(routed - bare) * 1e6:.1f} |")


async def _measure(targets: int, strategy: str) -> tuple[float, float]:
    client = Client()
    policy = {"attempt_timeout": 30, "total_timeout": 60, "retry": {"attempts": 3}}
    router = Router(
        [Target(client, name=str(number)) for number in range(targets)],
        policy=policy,
        strategy=strategy,
    )
    bare, routed = [], []
    for _ in range(ROUNDS):
        bare.append(await _round(client, client.call))
        routed.append(await _round(client, lambda: router.arun(Client.call)))
    return median(bare), median(routed)


async def _round(client: Client, call: Callable[[], Awaitable[int]]) -> float:
    client.arrived, client.everybody = 0, asyncio.Event()
    gc.collect()
    started = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLS)))
    return (time.perf_counter() - started) / CALLS


if __name__ == "__main__":
    main()
