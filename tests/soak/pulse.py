"""How late this machine lets threads run, to tell its delays from ours."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

_BEAT = 0.005


class Pulse:
    """A thread that wants to run every few milliseconds, and notes when it could not."""

    def __init__(self) -> None:
        self._stalls: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="pulse")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def stalled(self, start: float, end: float) -> float:
        """Return the seconds between two instants of ``time.monotonic`` in which it stood still."""
        stalls = ((max(start, begun), min(end, over)) for begun, over in self._stalls)
        return sum(max(0.0, over - begun) for begun, over in stalls)

    def _beat(self) -> None:
        while not self._over.is_set():
            due = time.monotonic() + _BEAT
            time.sleep(_BEAT)
            self._stalls.append((due, time.monotonic()))
