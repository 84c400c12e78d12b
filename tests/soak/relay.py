"""Servers that fail in every way in turn, of which one is well for long enough."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from typing import Self

from failover_core.testing import Fault, FaultServer, faults
from tests.soak.beside import Beside

FAULTS: tuple[Fault, ...] = (
    faults.Refuse(),
    faults.TlsFailure(),
    faults.Reset(),
    faults.Reset(after_bytes=100),
    faults.Hang(),
    faults.Hang(after_bytes=100),
    faults.Trickle(0.02),
    faults.Bandwidth(1_000),
    faults.SlowClose(5),
    faults.Slow(5),
    faults.Truncate(10),
    faults.RetryAfter(1),
    faults.Status(500),
    faults.Status(503),
    faults.Garbage(),
    faults.ErrorInside200(),
    faults.WrongCount(-1),
    faults.NotFinite(),
    faults.IndexOutOfRange(),
)

_BEAT = 0.15
"""Seconds between two faults of a server."""


class Relay(Beside):
    """Lets one server be well, and hands that on to another from time to time.

    The two are both well for ``overlap`` seconds in between, so a call that ends within that
    time has had a target that was well all the while.

    Args:
        servers: three at least; none is well until another has been for ``overlap`` seconds.
        dice: decides who and when; its seed replays that.
        overlap: seconds; None lets all of them fail all the time.

    Attributes:
        met: how often each kind of fault was set.
    """

    def __init__(
        self, servers: Sequence[FaultServer], dice: random.Random, *, overlap: float | None
    ) -> None:
        super().__init__()
        self.met: Counter[str] = Counter()
        self._servers = servers
        self._dice = dice
        self._overlap = overlap
        self._deck = itertools.cycle(dice.sample(FAULTS, len(FAULTS)))
        self._well: list[FaultServer] = []

    def __enter__(self) -> Self:
        if self._overlap is not None:
            self._well = [self._servers[-1]]
        self._break()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        for server in self._servers:
            server.fault = None

    def _run(self) -> None:
        while not self._over.is_set():
            if self._overlap is not None:
                self._hand_on(self._overlap)
            self._let_pass(self._dice.uniform(0, 0.5))

    def _hand_on(self, overlap: float) -> None:
        chosen = self._dice.choice([s for s in self._servers if s not in self._well])
        chosen.fault = None
        self._well.append(chosen)
        self._let_pass(overlap)
        del self._well[0]

    def _let_pass(self, seconds: float) -> None:
        for _ in range(max(1, round(seconds / _BEAT))):
            self._break()
            self._over.wait(_BEAT)

    def _break(self) -> None:
        for server in self._servers:
            if server not in self._well:
                fault = next(self._deck)
                self.met[fault.name()] += 1
                server.fault = fault
