"""A schedule of faults over real servers, one of which is healthy at each moment."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from failover_core.testing import Fault, FaultServer, faults
from tests.soak.beside import Beside

# No refused keys: a call asks such a target only once, for keys do not heal within a call.
_ANYWHERE: tuple[Fault, ...] = (
    faults.Reset(),
    faults.Hang(),
    faults.Garbage(),
    faults.Status(500),
    faults.Status(502),
    faults.Status(503),
    faults.Status(404),
    faults.RetryAfter(1),
    faults.RetryAfter(1, code=503),
    faults.ErrorInside200(),
    faults.Redirect(),
)
_IN_LISTS: tuple[Fault, ...] = (
    *_ANYWHERE,
    faults.Trickle(0.05),
    faults.Bandwidth(2_000),
    faults.SlowClose(2.0),
    faults.Truncate(10),
    faults.Slow(2.0),
    faults.HugeBody(100_000),
    faults.WrongCount(-1),
    faults.NotFinite(),
    faults.RaggedDimensions(),
    faults.EmptyVectors(),
    faults.WrongDimension(7),
    faults.IndexOutOfRange(99),
)
_BEFORE_CONTENT: tuple[Fault, ...] = (*_ANYWHERE, faults.StreamError(0), faults.MalformedChunk(0))
"""Faults of a chat that strike before its first content: later ones cannot be failed over."""

_DRAIN = 0.1
"""Seconds without new streams before a server is killed, so that none is cut off half-way."""


class Outage(Beside):
    """Breaks all servers but one, and every so often another one, until it is left.

    Args:
        servers: two at least.
        dice: decides everything; its seed replays the schedule.
    """

    def __init__(self, servers: Sequence[FaultServer], dice: random.Random) -> None:
        super().__init__()
        self._servers = servers
        self._dice = dice

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for server in self._servers:
            self._mend(server)

    def _run(self) -> None:
        alive = self._servers[0]
        while not self._over.is_set():
            chosen = self._dice.choice(self._servers)
            self._mend(chosen)  # before the other one breaks: one is healthy at each moment
            alive = chosen
            for server in self._servers:
                if server is not alive:
                    self._break(server)
            self._over.wait(self._dice.uniform(0.1, 0.4))

    def _break(self, server: FaultServer) -> None:
        server.set_fault(self._dice.choice(_IN_LISTS), path="/embeddings")
        server.set_fault(self._dice.choice(_IN_LISTS), path="/rerank")
        server.set_fault(self._dice.choice(_BEFORE_CONTENT), path="/chat/completions")
        if self._dice.random() < 1 / 4:
            time.sleep(_DRAIN)
            server.fault = faults.Refuse()

    def _mend(self, server: FaultServer) -> None:
        server.fault = None
        for path in ("/embeddings", "/rerank", "/chat/completions"):
            server.set_fault(None, path=path)
