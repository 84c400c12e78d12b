"""Every kind of fault that a socket can have, over TLS, sync and async."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from failover_core import AllTargetsFailedError, Router
from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind
from failover_core.testing import FaultServer
from tests.figures import Figure, size
from tests.soak.pulse import Pulse
from tests.soak.relay import Relay

CERTIFICATE = str(Path(__file__).parents[1] / "clients" / "localhost.pem")
TEXTS = [f"Lighthouse number {n} stands on a rock in the {n}th bay." for n in range(4)]
DIMENSION = 64
WORKERS = 4
OVERTIME = 0.1
KINDS = {
    *("refuse", "reset", "hang", "trickle", "slow_close", "bandwidth", "truncate", "retry_after"),
    *("status", "garbage", "wrong_count", "tls_failure"),
}

Servers = Callable[..., list[FaultServer]]


class Asker:
    """Asks a router for vectors and ranks, and keeps account of it."""

    def __init__(self, servers: list[FaultServer], **policy: Any) -> None:
        urls = [server.url.replace("127.0.0.1", "localhost") for server in servers]
        clients = [InfinityClient(url, model="m", ca_file=CERTIFICATE) for url in urls]
        self.router = Router(clients, policy=policy)
        self.ends: Counter[str] = Counter()
        self.times: list[tuple[float, float]] = []
        self._expected = clients[0].embed(TEXTS, Kind.PASSAGE)
        self._best = clients[0].rerank(TEXTS[2], TEXTS)[0].index

    def ask(self, number: int) -> None:
        started = time.monotonic()
        try:
            if number % 2:
                found = self.router.run(lambda client: client.embed(TEXTS, Kind.PASSAGE))
                assert np.array_equal(found, self._expected)
            else:
                ranked = self.router.run(lambda client: client.rerank(TEXTS[2], TEXTS))
                assert ranked[0].index == self._best
        except Exception as error:  # noqa: BLE001 - the test is about which ones there are
            self._note(started, error)
        else:
            self._note(started, None)

    async def aask(self, number: int) -> None:
        started = time.monotonic()
        try:
            if number % 2:
                found = await self.router.arun(lambda client: client.aembed(TEXTS, Kind.PASSAGE))
                assert np.array_equal(found, self._expected)
            else:
                ranked = await self.router.arun(lambda client: client.arerank(TEXTS[2], TEXTS))
                assert ranked[0].index == self._best
        except Exception as error:  # noqa: BLE001 - as above
            self._note(started, error)
        else:
            self._note(started, None)

    def ask_all(self, number: int, *, workers: int) -> None:
        """Ask half of the requests from threads, the other half from tasks, at the same time."""

        async def from_tasks() -> None:
            waiting = iter(range(number // 2))

            async def work() -> None:
                for place in waiting:
                    await self.aask(place)

            await asyncio.gather(*(work() for _ in range(workers)))

        with ThreadPoolExecutor(workers + 1) as threads:
            tasks = threads.submit(asyncio.run, from_tasks())
            list(threads.map(self.ask, range(number // 2)))
            tasks.result()
        self.router.close()

    def overtime(self, total_timeout: float, pulse: Pulse) -> list[float]:
        """Return how long after its deadline each request came back, the machine's part left out.

        That part are the stalls from its start on: each may have made a timer start late.
        """
        late = []
        for start, end in self.times:
            over = end - start - total_timeout
            late.append(over - pulse.stalled(start, end) if over > 0 else over)
        return late

    def _note(self, started: float, error: Exception | None) -> None:
        self.times.append((started, time.monotonic()))
        self.ends["answered" if error is None else repr(error)[:500]] += 1


def seeded() -> tuple[int, random.Random]:
    """Return a seed, which ``FAILOVER_SOAK_SEED`` may set, and dice."""
    seed = int(os.environ.get("FAILOVER_SOAK_SEED", random.randrange(10**6)))
    return seed, random.Random(seed)


@pytest.mark.timeout(300)
def test_no_request_is_lost_whatever_the_other_servers_do(
    fault_servers: Servers, figure: Figure
) -> None:
    seed, dice = seeded()
    number, total_timeout = size(ci=1_500, full=10_000), 2.0
    servers = fault_servers(3, certificate=CERTIFICATE, dimension=DIMENSION, latency=0.02)
    asker = Asker(
        servers,
        attempt_timeout=0.4,
        total_timeout=total_timeout,
        breaker={"cooldown": 0.2, "max_cooldown": 0.5},
    )
    with Pulse() as pulse, Relay(servers, dice, overlap=1.5) as relay:
        asker.ask_all(number, workers=WORKERS)
    status = asker.router.status()
    late = asker.overtime(total_timeout, pulse)
    beyond = sum(overtime > OVERTIME for overtime in late)
    figure(
        "real sockets",
        requests=number,
        lost=number - asker.ends["answered"],
        beyond_the_deadline_and_100_ms=beyond,
        failed_over=status.failed_over,
        worst={"kinds of fault": len(relay.met)},
    )
    assert asker.ends == {"answered": number}, f"seed {seed}"
    assert not beyond, f"seed {seed}"
    assert relay.met.keys() >= KINDS, f"seed {seed}"
    assert status.failed_over > number / 50, f"seed {seed}: the faults hardly struck"
    assert not any(target.in_flight for target in status.targets), f"seed {seed}"


@pytest.mark.timeout(300)
def test_a_deadline_holds_when_nobody_answers(fault_servers: Servers, figure: Figure) -> None:
    seed, dice = seeded()
    number, total_timeout = size(ci=120, full=1_000), 0.4
    servers = fault_servers(3, certificate=CERTIFICATE, dimension=DIMENSION)
    asker = Asker(
        servers,
        attempt_timeout=0.2,
        total_timeout=total_timeout,
        retry={"attempts": 20, "budget": None},
        breaker={"cooldown": 0.2, "max_cooldown": 0.5},
    )
    with Pulse() as pulse, Relay(servers, dice, overlap=None) as relay:
        asker.ask_all(number, workers=2 * WORKERS)
    late = asker.overtime(total_timeout, pulse)
    beyond = sum(overtime > OVERTIME for overtime in late)
    figure(
        "real sockets, nobody well",
        requests=number,
        beyond_the_deadline_and_100_ms=beyond,
        worst={"ms after the deadline": 1_000 * max(late), "kinds of fault": len(relay.met)},
    )
    assert not beyond, f"seed {seed}"
    # A slow close that the next fault makes quick is an answer.
    assert asker.ends.pop("answered", 0) < number / 20, f"seed {seed}"
    strange = [end for end in asker.ends if AllTargetsFailedError.__name__ not in end]
    assert not strange, f"seed {seed}"
