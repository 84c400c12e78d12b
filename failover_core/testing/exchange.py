"""One request and its answer on a live connection: what a fault has in its hands."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterable
from functools import cached_property

from failover_core.testing.framing import Reply, Request

_LINGER_ZERO = struct.pack("ii", 1, 0)


def abort(writer: StreamWriter) -> None:
    """Drop a connection with a TCP reset, as the kernel does for a process that was killed."""
    connection = writer.get_extra_info("socket")
    if connection is not None:  # as that of a closed TLS connection is
        with contextlib.suppress(OSError):  # the client may have closed it already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    writer.transport.abort()


class Exchange:
    """One request and the answer to it.

    Attributes:
        request: what was received.
        fault_age: seconds since the fault in force was set.
    """

    def __init__(
        self,
        request: Request,
        reader: StreamReader,
        writer: StreamWriter,
        *,
        answer: Callable[[Request], Reply],
        chunk_latency: float = 0.0,
    ) -> None:
        self.request = request
        self.fault_age = 0.0
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._chunk_latency = chunk_latency

    @cached_property
    def reply(self) -> Reply:
        """The answer of a healthy server."""
        return self._answer(self.request)

    async def send(self, reply: Reply) -> None:
        """Send an answer, an event stream chunk by chunk."""
        head, *chunks = reply.pieces()
        await self.write([head])
        await self.write(chunks, pause=self._chunk_latency)

    async def write(self, pieces: Iterable[bytes], *, pause: float = 0.0) -> None:
        """Send bytes, with a pause in seconds before each piece."""
        for piece in pieces:
            if pause:
                await asyncio.sleep(pause)
            self._writer.write(piece)
            await self._writer.drain()

    async def silence(self) -> None:
        """Send nothing until the client has gone."""
        while await self._reader.read(1 << 16):
            pass
        self._writer.close()

    def close(self) -> None:
        """Close the connection in order (FIN) once everything is sent."""
        self._writer.close()

    def reset(self) -> None:
        """Close the connection with a reset (RST)."""
        abort(self._writer)
