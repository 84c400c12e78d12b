"""The connections of one transport in one process: those at rest, and how many are in use."""

from __future__ import annotations

import os
import selectors
import threading
import time
import weakref
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from failover_core.clients.tls import TlsSession

REST = 4.0
"""Seconds a connection is kept without use: less than uvicorn's 5 s, the shortest that matters,
so that we rarely send into a connection that its server is about to close."""

_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)


@dataclass(slots=True)
class Connection:
    """A connected socket, and the TLS on it if there is any."""

    sock: socket.socket
    tls: TlsSession | None = None
    rests_since: float = 0.0

    def usable(self) -> bool:
        """Tell whether it may be used again: input at rest can only be the server's farewell."""
        return time.monotonic() - self.rests_since < REST and not self._has_input()

    def _has_input(self) -> bool:
        with _Selector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            return bool(selector.select(0))


class Pool:
    """Connections at rest, the latest first, and turns for those who want one.

    All of it is safe from any thread and event loop. It belongs to the process that made it:
    a forked child makes its own and closes its copies of the sockets it inherited.
    """

    def __init__(self, max_connections: int) -> None:
        self.pid = os.getpid()
        self._resting: deque[Connection] = deque()
        self._free = max_connections
        self._waiting: deque[Future[None]] = deque()
        self._lock = threading.Lock()
        weakref.finalize(self, _close_all, self._resting)

    def take(self) -> Connection | None:
        """Return a connection that can be used, or None if a new one is needed."""
        while True:
            with self._lock:
                if not self._resting:
                    return None
                connection = self._resting.pop()
            if connection.usable():
                return connection
            connection.sock.close()

    def rest(self, connection: Connection) -> None:
        """Keep a connection for the next exchange, and drop those that rested too long."""
        connection.rests_since = time.monotonic()
        expired = []
        with self._lock:
            self._resting.append(connection)
            while self._resting[0].rests_since < connection.rests_since - REST:
                expired.append(self._resting.popleft())
        _close_all(expired)

    def enter(self) -> Future[None] | None:
        """Ask for a turn: None if it is granted at once, else a future to wait for."""
        with self._lock:
            if self._free:
                self._free -= 1
                return None
            turn: Future[None] = Future()
            self._waiting.append(turn)
            return turn

    def leave(self, turn: Future[None] | None) -> None:
        """Give back a turn that was granted, or stop waiting for it."""
        if turn and turn.cancel():
            return
        with self._lock:
            following = self._next_waiting()
            if following is None:
                self._free += 1
        if following:
            following.set_result(None)

    def _next_waiting(self) -> Future[None] | None:
        while self._waiting:
            turn = self._waiting.popleft()
            if turn.set_running_or_notify_cancel():
                return turn
        return None

    def close(self) -> None:
        """Close the connections at rest; those in use come back and are kept for later."""
        _close_all(self._resting)


def _close_all(connections: deque[Connection] | list[Connection]) -> None:
    while connections:
        connections.pop().sock.close()
