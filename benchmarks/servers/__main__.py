"""Embeds, ranks and chats at next to no cost: ``python -m benchmarks.servers``.

It speaks the protocol of OpenAI and Infinity. Its vectors are ready but for their first number,
which is the one that the text begins with: so a vector tells whose it is. Requests are served one
after the other, each in the same time, as a GPU would.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from benchmarks.servers import Counts
from benchmarks.servers.answers import CHUNKS, Vectors, answer, number_of, ranking, stream

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_BACKLOG = 1024
_JSON, _EVENTS = b"application/json", b"text/event-stream"


class Service:
    """What all connections of a server share.

    Args:
        settings: of the command line.
    """

    def __init__(self, settings: argparse.Namespace) -> None:
        rows = np.memmap(settings.counts / "counts", np.uint8, "r+")
        self.counts: Counts = rows.reshape(2, -1)
        self.loop = asyncio.get_running_loop()
        self.vectors = Vectors(settings.dimension)
        self.is_dying = False
        self._settings = settings
        self._is_free_at = self._throttled_until = 0.0

    def throttle(self) -> None:
        """Refuse what comes in from now on, for some time."""
        self._throttled_until = self.loop.time() + self._settings.rest

    def die(self) -> None:
        """Die in the middle of the next request."""
        self.is_dying = True

    def refusal(self) -> bytes | None:
        """Return what a request is answered with while the server is throttled."""
        left = self._throttled_until - self.loop.time()
        if left <= 0:
            return None
        error = b'{"error": {"message": "too many requests"}}'
        return _response(error, status=b"429 Too Many\r\nRetry-After: %d" % math.ceil(left))

    def delay(self) -> float:
        """Take a place in the queue, and return the seconds until its turn is over."""
        now = self.loop.time()
        self._is_free_at = max(now, self._is_free_at) + self._settings.service
        return self._is_free_at - now

    def count(self, row: int, numbers: list[int]) -> None:
        """Count texts as received (0) or answered (1)."""
        if self.counts.shape[1] > 1:
            np.add.at(self.counts[row], [number for number in numbers if number >= 0], 1)


def _response(body: bytes, kind: bytes = _JSON, status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


class Connection(asyncio.Protocol):
    """One connection; a request is answered before the next one comes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = bytearray()

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Wait for the end of a request, and serve it."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or (length and len(body) < int(length[1])):
            return
        self._received.clear()
        self._serve(orjson.loads(body))

    def _serve(self, request: dict[str, Any]) -> None:
        service = self._service
        if refusal := service.refusal():
            self._transport.write(refusal)
            return
        numbers = [number_of(text) for text in request.get("input", ())]
        service.count(0, numbers)
        send = partial(self._answer, request, numbers)
        if delay := service.delay():
            service.loop.call_later(delay, send)
        else:
            send()

    def _answer(self, request: dict[str, Any], numbers: list[int]) -> None:
        if self._service.is_dying:
            os.kill(os.getpid(), signal.SIGKILL)
        self._transport.write(self._response(request, numbers))
        self._service.count(1, numbers)

    def _response(self, request: dict[str, Any], numbers: list[int]) -> bytes:
        """Answer by what the request has: every kind has a field of its own."""
        match request:
            case {"messages": _, "stream": True}:
                wanted = request.get("max_completion_tokens") or request.get("max_tokens")
                return _response(stream(wanted or CHUNKS), _EVENTS)
            case {"messages": _}:
                return _response(answer())
            case {"documents": documents}:
                return _response(ranking(len(documents)))
            case _:
                encoding = request.get("encoding_format", "float")
                return _response(self._service.vectors.body(numbers, encoding))


async def _serve(settings: argparse.Namespace) -> None:
    service = Service(settings)
    service.loop.add_signal_handler(signal.SIGUSR1, service.throttle)
    service.loop.add_signal_handler(signal.SIGUSR2, service.die)
    connect = partial(Connection, service)
    listener = await service.loop.create_server(connect, "127.0.0.1", 0, backlog=_BACKLOG)
    host, port = listener.sockets[0].getsockname()
    print(f"http://{host}:{port}", flush=True)
    await listener.serve_forever()


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--service", type=float, required=True)
    parser.add_argument("--dimension", type=int, required=True)
    parser.add_argument("--rest", type=int, required=True)
    parser.add_argument("--counts", type=Path, required=True)
    asyncio.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
