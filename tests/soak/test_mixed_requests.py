"""The promise itself: while one server can answer, no request is lost."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from tenacity import wait_exponential

from failover_core.testing import FaultServer
from tests.figures import Figure, size
from tests.soak.outage import Outage
from tests.soak.requests import Application, Async, Sync

REQUESTS = size(ci=2_000, full=10_000)
THREADS = TASKS = 8
TOTAL_TIMEOUT = 20.0
OVERTIME = 0.1

POLICY = {
    "attempt_timeout": 0.5,
    "total_timeout": TOTAL_TIMEOUT,
    # The healthy server may become another one while a call is on its way round.
    "retry": {
        "attempts": 6,
        "wait": wait_exponential(multiplier=0.05, max=1),
        "budget": None,
    },
    "breaker": {"cooldown": 0.5, "max_cooldown": 2.0},
}


class Ledger:
    """How each request ended, and how long it took."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        self.slowest = 0.0

    def sync(self, request: Sync) -> None:
        started = time.monotonic()
        try:
            request()
        except Exception as error:  # noqa: BLE001 - the test is about which ones there are
            self._write(started, error)
        else:
            self._write(started, None)

    async def asynchronous(self, request: Async) -> None:
        started = time.monotonic()
        try:
            await request()
        except Exception as error:  # noqa: BLE001
            self._write(started, error)
        else:
            self._write(started, None)

    def _write(self, started: float, error: Exception | None) -> None:
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.ends[repr(error)[:300] if error else "answered"] += 1


@pytest.mark.timeout(300)
def test_no_request_is_lost_while_one_server_can_answer(
    fault_servers: Callable[..., list[FaultServer]], figure: Figure
) -> None:
    """Mixed requests of both frameworks, sync, async and streams, over changing faults.

    The schedule and the requests follow from a seed, which a failure prints;
    ``FAILOVER_SOAK_SEED`` replays it.
    """
    seed = int(os.environ.get("FAILOVER_SOAK_SEED", random.randrange(10**6)))
    dice = random.Random(seed)
    servers = fault_servers(3)
    application = Application(servers, POLICY)
    sync = dice.choices(application.sync, k=REQUESTS // 2)
    asynchronous = dice.choices(application.asynchronous, k=REQUESTS // 2)
    ledger = Ledger()

    async def in_one_loop() -> None:
        turns = asyncio.Semaphore(TASKS)

        async def in_turn(request: Async) -> None:
            async with turns:
                await ledger.asynchronous(request)

        await asyncio.gather(*map(in_turn, asynchronous))

    with Outage(servers, dice), ThreadPoolExecutor(THREADS + 1) as threads:
        loop = threads.submit(asyncio.run, in_one_loop())
        list(threads.map(ledger.sync, sync))
        loop.result()

    failed_over = sum(router.status().failed_over for router in application.routers)
    in_flight = [t.in_flight for r in application.routers for t in r.status().targets]
    figure(
        "real sockets, both frameworks",
        requests=REQUESTS,
        lost=REQUESTS - ledger.ends["answered"],
        worst={"seconds for a request": ledger.slowest},
    )
    assert dict(ledger.ends) == {"answered": REQUESTS}, f"seed {seed}"
    assert ledger.slowest <= TOTAL_TIMEOUT + OVERTIME, f"seed {seed}"
    assert not any(in_flight), f"seed {seed}"
    assert failed_over > REQUESTS / 20, f"seed {seed}: the schedule hardly struck"
