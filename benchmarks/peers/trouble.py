"""A corpus is embedded over several servers, some of which fail on the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import numpy as np

from benchmarks.peers.corpora import BATCH, PEERS, Build, Vectors
from benchmarks.servers import Server, server, strangers, texts

SERVICE = 0.1
"""Seconds of each request; a server serves one at a time."""

REST = 2
"""Seconds that a throttled server refuses requests for."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A job, and what happens on the way.

    Attributes:
        texts: to embed.
        servers: that share them.
        killed_after: seconds after which the first one dies in the middle of a request.
        throttled_after: seconds after which the last one refuses all requests for ``REST``.
    """

    texts: int
    servers: int
    killed_after: float
    throttled_after: float | None = None

    @property
    def allowed(self) -> float:
        """Seconds that the job takes if no server idles while it can serve."""
        work = -(-self.texts // BATCH) * SERVICE
        rest = 0 if self.throttled_after is None else REST
        return (work + rest - self.killed_after) / (self.servers - 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    Attributes:
        seconds: it took, to its end or to its error.
        lost: texts without a vector.
        shifted: vectors that are not those of their texts.
        again: texts that more than one server received, or one more than once.
        twice: texts that were answered, and paid for, twice.
    """

    seconds: float
    lost: int
    shifted: int
    again: int
    twice: int


def peer_in(trouble: Trouble, name: str) -> Outcome | None:
    """Let a peer do the job; None if it is not installed."""
    try:
        return outcome(trouble, PEERS[name])
    except ImportError:
        return None


def outcome(trouble: Trouble, build: Build) -> Outcome:
    """Let a contestant that has met all servers do the job."""
    given = texts(trouble.texts)
    with _servers(trouble) as servers:
        embed = build([each.url for each in servers])
        embed([f"warm {number}" for number in range(2 * trouble.servers * BATCH)])
        threading.Timer(trouble.killed_after, servers[0].kill).start()
        if trouble.throttled_after is not None:
            threading.Timer(trouble.throttled_after, servers[-1].throttle).start()
        started = time.perf_counter()
        vectors: Vectors = ()
        with suppress(Exception):  # a loss, and counted as one
            vectors = embed(given)
        seconds = time.perf_counter() - started
        received, answered = np.sum([each.counts for each in servers], axis=0, dtype=int)
    return Outcome(
        seconds,
        lost=trouble.texts - len(vectors),
        shifted=strangers(np.asarray(vectors, np.float32)) if len(vectors) else 0,
        again=int((received > 1).sum()),
        twice=int((answered > 1).sum()),
    )


@contextmanager
def _servers(trouble: Trouble) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(server(service=SERVICE, rest=REST, counted=trouble.texts))
            for _ in range(trouble.servers)
        ]
