"""The only place of the clients that touches sockets: one operation, sync and async side by side.

A *flow* is a generator of operations that gets their results, or the OSError they ended with.
``drive`` and ``adrive`` carry a flow out; every operation ends at the deadline at the latest.
Sockets are used bare (``loop.sock_recv``), not through asyncio's transports: a bare socket
belongs to no event loop, so one pool serves every loop and thread, and a loop that is closed
leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

NEVER = float("inf")


class Operation(Protocol):
    """Something to do with a socket. ``deadline`` is an instant of ``time.monotonic``."""

    def perform(self, deadline: float) -> Any:
        """Do it in this thread."""

    async def aperform(self) -> Any:
        """Do it in the running loop."""


Flow = Generator[Operation, Any, T]


def drive(flow: Flow[T], deadline: float) -> T:
    """Carry out a flow in this thread; raises TimeoutError at the deadline."""
    proceed = partial(next, flow)
    try:
        while True:
            operation = proceed()
            try:
                proceed = partial(flow.send, operation.perform(deadline))
            except OSError as error:
                proceed = partial(flow.throw, error)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        flow.close()


async def adrive(flow: Flow[T], deadline: float) -> T:
    """Carry out a flow in the running loop; raises TimeoutError at the deadline."""
    proceed = partial(next, flow)
    try:
        async with asyncio.timeout(deadline - time.monotonic()):
            while True:
                operation = proceed()
                try:
                    proceed = partial(flow.send, await operation.aperform())
                except OSError as error:
                    proceed = partial(flow.throw, error)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        flow.close()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


async def _until(instant: float, work: Awaitable[T]) -> T:
    if instant == NEVER:
        return await work
    async with asyncio.timeout(instant - time.monotonic()):
        return await work


@dataclass(slots=True)
class Resolve:
    """Find the addresses of a host. In a thread, the system's resolver sets the time limit."""

    host: str
    port: int

    def perform(self, deadline: float) -> list[Any]:
        """Do it in this thread."""
        _left(deadline)
        return socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)

    async def aperform(self) -> list[Any]:
        """Do it in the running loop."""
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)


@dataclass(slots=True)
class Connect:
    """Connect a new socket before an instant."""

    sock: socket.socket
    address: Any
    until: float

    def perform(self, deadline: float) -> None:
        """Do it in this thread."""
        self.sock.settimeout(_left(min(deadline, self.until)))
        self.sock.connect(self.address)

    async def aperform(self) -> None:
        """Do it in the running loop."""
        self.sock.settimeout(0)
        loop = asyncio.get_running_loop()
        await _until(self.until, loop.sock_connect(self.sock, self.address))


@dataclass(slots=True)
class Send:
    """Send all of the data."""

    sock: socket.socket
    data: bytes
    until: float = NEVER

    def perform(self, deadline: float) -> None:
        """Do it in this thread."""
        self.sock.settimeout(_left(min(deadline, self.until)))
        self.sock.sendall(self.data)

    async def aperform(self) -> None:
        """Do it in the running loop."""
        self.sock.settimeout(0)  # it may have served a blocking call before
        loop = asyncio.get_running_loop()
        await _until(self.until, loop.sock_sendall(self.sock, self.data))


@dataclass(slots=True)
class Receive:
    """Receive what comes next, up to a size; ``b""`` at the end of the stream."""

    sock: socket.socket
    size: int
    until: float = NEVER

    def perform(self, deadline: float) -> bytes:
        """Do it in this thread."""
        self.sock.settimeout(_left(min(deadline, self.until)))
        return self.sock.recv(self.size)

    async def aperform(self) -> bytes:
        """Do it in the running loop."""
        loop = asyncio.get_running_loop()
        return await _until(self.until, loop.sock_recv(self.sock, self.size))


@dataclass(slots=True)
class Wait:
    """Wait for another exchange to end."""

    turn: Future[None]

    def perform(self, deadline: float) -> None:
        """Do it in this thread."""
        self.turn.result(_left(deadline))

    async def aperform(self) -> None:
        """Do it in the running loop."""
        await asyncio.wrap_future(self.turn)
