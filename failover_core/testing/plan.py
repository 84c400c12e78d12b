"""Which fault the next request meets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from failover_core.errors import ConfigurationError
from failover_core.testing.faults import Fault
from failover_core.testing.faults.transport import strikes_server


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault and when it was set, in seconds of ``time.monotonic()``; None is health."""

    fault: Fault | None
    since: float


class FaultPlan:
    """The faults that are in force: a script, then the path's, then the server's. Thread-safe.

    A path stands for itself and for itself after ``/v1``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[str | None, deque[Fault | None]] = {}
        self._faults: dict[str | None, Planned] = {}

    def get(self, path: str | None = None) -> Fault | None:
        """Return the fault of a path, or of the server, leaving scripts aside."""
        with self._lock:
            planned = self._faults.get(path)
        return planned.fault if planned else None

    def set(self, fault: Fault | None, path: str | None = None) -> None:
        """Set or clear (None) the fault of a path, or of the server."""
        if path is not None:
            _refuse_those_of_servers([fault])
        with self._lock:
            self._faults[path] = Planned(fault, time.monotonic())

    def script(self, faults: Iterable[Fault | None], path: str | None = None) -> None:
        """Give the next requests one fault each, None being health."""
        played = deque(faults)
        _refuse_those_of_servers(played)
        with self._lock:
            self._scripts[path] = played

    def next(self, path: str) -> Planned:
        """Return what the request that has just come in on a path meets, using up its turn."""
        now = time.monotonic()
        path = path.removeprefix("/v1")
        with self._lock:
            for key in (path, None):
                if script := self._scripts.get(key):
                    return Planned(script.popleft(), now)
            for key in (path, None):
                if (planned := self._faults.get(key)) and planned.fault:
                    return planned
        return Planned(None, now)


def _refuse_those_of_servers(faults: Iterable[Fault | None]) -> None:
    for fault in faults:
        if fault and strikes_server(fault):
            message = (
                f"fault {fault.name()}: strikes a whole server, not a path or one request of a "
                "script; set server.fault, or use Reset"
            )
            raise ConfigurationError(message)
