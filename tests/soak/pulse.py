"""How late this machine lets threads run, to tell its delays from ours."""

from __future__ import annotations

import time

from tests.soak.beside import Beside

_BEAT = 0.005


class Pulse(Beside):
    """A thread that wants to run every few milliseconds, and notes when it could not."""

    def __init__(self) -> None:
        super().__init__()
        self._stalls: list[tuple[float, float]] = []

    def stalled(self, start: float, end: float) -> float:
        """Return the seconds between two instants of ``time.monotonic`` in which it stood still."""
        stalls = ((max(start, begun), min(end, over)) for begun, over in self._stalls)
        return sum(max(0.0, over - begun) for begun, over in stalls)

    def _run(self) -> None:
        while not self._over.is_set():
            due = time.monotonic() + _BEAT
            time.sleep(_BEAT)
            self._stalls.append((due, time.monotonic()))
