"""Fault servers in a process of their own: a process that is forked off would share their sockets.

It imports no framework, which would take that process seconds.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.managers import BaseManager
from typing import Any

from failover_core.testing import FaultServer
from failover_core.testing.framing import Request


class _Served(FaultServer):
    """A fault server all of whose public names are methods, as proxies want them."""

    def begin(self) -> None:
        self.start()

    def get(self, name: str) -> Any:
        return getattr(self, name)


class _Manager(BaseManager):
    """The process of the servers."""


_Manager.register("serve", _Served)


class ServerElsewhere:
    """A fault server that runs in another process."""

    def __init__(self, served: Any) -> None:
        self._served = served
        served.begin()
        self.url: str = served.get("url")

    @property
    def requests(self) -> list[Request]:
        """The requests so far."""
        return self._served.get("requests")  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Die as if killed."""
        self._served.stop()

    def clear(self) -> None:
        """Forget the requests so far."""
        self._served.clear()

    def close(self) -> None:
        """Stop, and give the port back."""
        self._served.close()


class Elsewhere:
    """A process that makes servers."""

    def __init__(self) -> None:
        self._manager = _Manager(ctx=multiprocessing.get_context("spawn"))
        self._manager.start()

    @contextmanager
    def server(self, **settings: Any) -> Iterator[ServerElsewhere]:
        """Run a server within the ``with`` block."""
        server = ServerElsewhere(self._manager.serve(**settings))  # type: ignore[attr-defined]
        try:
            yield server
        finally:
            server.close()

    def close(self) -> None:
        """End the process."""
        self._manager.shutdown()
