"""One job over several servers, with and without trouble on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from benchmarks.servers import Server, server, strangers, texts
from benchmarks.tables import Goal, Row
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind, Vectors

TEXTS = texts(50_000)
BATCH = 256
SERVERS = 4
SERVICE = 0.1
"""Seconds of each request."""

REST = 2
"""Seconds that the throttled server refuses requests for."""

KILLED_AFTER, THROTTLED_AFTER = 1.0, 1.8
"""Seconds from the start of a job."""

Door = Callable[[Embedder], Vectors]


def _sync(embedder: Embedder) -> Vectors:
    return embedder.embed(TEXTS, Kind.PASSAGE)


def _async(embedder: Embedder) -> Vectors:
    return asyncio.run(embedder.aembed(TEXTS, Kind.PASSAGE))


DOORS: dict[str, Door] = {"embed": _sync, "aembed": _async}


@dataclass
class Rounds:
    """What the rounds of one door have shown."""

    one: list[float] = field(default_factory=list)
    four: list[float] = field(default_factory=list)
    troubled: list[float] = field(default_factory=list)
    faults: list[tuple[int, int, int]] = field(default_factory=list)


def rows(rounds: int) -> Iterator[Row]:
    """Measure, and yield the rows of the table."""
    results = {name: Rounds() for name in DOORS}
    for _ in range(rounds):
        for name, door in DOORS.items():
            result = results[name]
            result.one.append(_healthy(door, 1))
            result.four.append(_healthy(door, SERVERS))
            seconds, faults = _troubled(door)
            result.troubled.append(seconds)
            result.faults.append(faults)
    for name, result in results.items():
        yield from _rows(name, result)


def _rows(name: str, result: Rounds) -> Iterator[Row]:
    one, four = median(result.one), median(result.four)
    job = f"{name}, {len(TEXTS):,} × 1024"
    yield Row(
        f"{job}: {SERVERS} servers against 1",
        f"{len(TEXTS) / four:,.0f} texts/s",
        f"{len(TEXTS) / one:,.0f} texts/s",
        Goal(one / four, at_least=3.8),
    )
    troubled, allowed = median(result.troubled), _allowed()
    yield Row(
        f"{job}: one of {SERVERS} killed, one throttled, against what is left of them",
        f"{troubled:.2f} s",
        f"{allowed:.2f} s",
        Goal(troubled / allowed, at_most=1.1),
    )
    for what, counts in zip(
        ("lost", "shifted", "sent again although answered"),
        zip(*result.faults, strict=True),
        strict=True,
    ):
        yield Row(
            f"{job}, in that trouble: texts {what}", "", "", Goal(max(counts), at_most=0, unit="")
        )


def _allowed() -> float:
    """Return the seconds that the work takes if no server idles while it can serve."""
    work = -(-len(TEXTS) // BATCH) * SERVICE
    return (work + REST - KILLED_AFTER) / (SERVERS - 1)


@contextmanager
def _pool(size: int) -> Iterator[tuple[Embedder, Sequence[Server]]]:
    """Yield an embedder that knows nothing yet of its servers, and them."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(server(service=SERVICE, rest=REST, counted=len(TEXTS)))
            for _ in range(size)
        ]
        clients = [stack.enter_context(InfinityClient(each.url, model="m")) for each in servers]
        router = Router(clients)
        yield Embedder(router.begin, router.targets, batch_size=BATCH), servers


def _healthy(door: Door, size: int) -> float:
    with _pool(size) as (embedder, _):
        started = time.perf_counter()
        vectors = door(embedder)
        seconds = time.perf_counter() - started
    if len(vectors) != len(TEXTS) or strangers(vectors):
        message = "a vector is not that of its text"
        raise AssertionError(message)
    return seconds


def _troubled(door: Door) -> tuple[float, tuple[int, int, int]]:
    """Return the seconds, and the texts that were lost, shifted, and answered twice."""
    with _pool(SERVERS) as (embedder, servers):
        threading.Timer(KILLED_AFTER, servers[1].kill).start()
        threading.Timer(THROTTLED_AFTER, servers[2].throttle).start()
        started = time.perf_counter()
        vectors = door(embedder)
        seconds = time.perf_counter() - started
        answered = np.sum([each.counts[1] for each in servers], axis=0)
    again = int((answered > 1).sum())
    return seconds, (len(TEXTS) - len(vectors), strangers(vectors), again)
