"""An embedding server that costs next to nothing: ``python -m benchmarks.servers``.

It speaks the protocol of OpenAI and Infinity. Its vectors are ready but for their first number,
which is the one that the text begins with: so a vector tells whose it is. Requests are served one
after the other, each in the same time, as a GPU would.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_NUMBER = 8
"""Digits that a text begins with."""

_ALIGNED = 3
"""Numbers whose base64 ends where that of the next one begins."""

Counts = NDArray[np.uint8]


def texts(count: int, tail: str = " a text of some length, as passages are" * 4) -> list[str]:
    """Return texts that each begin with a number, from 0 on."""
    return [f"{number:0{_NUMBER}d}{tail}" for number in range(count)]


def strangers(vectors: NDArray[np.float32]) -> int:
    """Return how many vectors are not those of ``texts`` in their order."""
    return int((vectors[:, 0] != np.arange(len(vectors), dtype=np.float32)).sum())


@dataclass
class Server:
    """A server in a process of its own.

    Attributes:
        url: where it listens.
        process: it.
        counts: of each text, how often it was received, and how often it was answered.
    """

    url: str
    process: subprocess.Popen[str]
    counts: Counts

    def throttle(self) -> None:
        """Let it refuse requests for its ``rest``."""
        self.process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Let it die (SIGKILL) in the middle of the next request."""
        self.process.send_signal(signal.SIGUSR2)


@contextmanager
def server(
    *, service: float = 0.0, dimension: int = 1024, rest: int = 1, counted: int = 0
) -> Iterator[Server]:
    """Run a server.

    Args:
        service: seconds that each request takes.
        dimension: of the vectors.
        rest: seconds that a throttled server refuses requests for.
        counted: texts, from number 0 on, whose requests and answers are counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        counts = np.memmap(Path(folder, "counts"), np.uint8, "w+", shape=(2, counted or 1))
        settings = {"service": service, "dimension": dimension, "rest": rest, "counts": folder}
        given = [f"--{name}={value}" for name, value in settings.items()]
        command = [sys.executable, "-m", "benchmarks.servers", *given]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
            assert process.stdout is not None  # noqa: S101 - asked for above
            try:
                yield Server(process.stdout.readline().strip(), process, counts)
            finally:
                process.kill()


class Service:
    """What all connections of a server share.

    Args:
        settings: of the command line.
    """

    def __init__(self, settings: argparse.Namespace) -> None:
        rows = np.memmap(settings.counts / "counts", np.uint8, "r+")
        self.counts: Counts = rows.reshape(2, -1)
        self.loop = asyncio.get_running_loop()
        self.is_dying = False
        self._settings = settings
        self._is_free_at = self._throttled_until = 0.0
        numbers = np.random.default_rng(0).standard_normal(settings.dimension).astype("<f4")
        numbers /= np.linalg.norm(numbers)
        self._head, rest = numbers[:_ALIGNED].copy(), numbers[_ALIGNED:]
        self._packed = base64.b64encode(rest.tobytes())
        self._written = orjson.dumps(rest.tolist())[1:]

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
        return _response(error, f"429 Too Many\r\nRetry-After: {math.ceil(left)}".encode())

    def delay(self) -> float:
        """Take a place in the queue, and return the seconds until its turn is over."""
        now = self.loop.time()
        self._is_free_at = max(now, self._is_free_at) + self._settings.service
        return self._is_free_at - now

    def count(self, row: int, numbers: list[int]) -> None:
        """Count texts as received (0) or answered (1)."""
        if self.counts.shape[1] > 1:
            np.add.at(self.counts[row], [number for number in numbers if number >= 0], 1)

    def answer(self, numbers: list[int], encoding: str) -> bytes:
        """Return the answer to a request."""
        vector = self._base64 if encoding == "base64" else self._floats
        items = [
            b'{"object":"embedding","index":%d,"embedding":%s}' % (index, vector(number))
            for index, number in enumerate(numbers)
        ]
        usage = b'"usage":{"prompt_tokens":%d,"total_tokens":%d}' % (len(items), len(items))
        body = b'{"object":"list","model":"m","data":[%s],%s}' % (b",".join(items), usage)
        return _response(body, b"200 OK")

    def _base64(self, number: int) -> bytes:
        self._head[0] = number
        return b'"%s%s"' % (base64.b64encode(self._head.tobytes()), self._packed)

    def _floats(self, number: int) -> bytes:
        head = b",".join(b"%.9g" % value for value in (number, *self._head[1:].tolist()))
        return b"[%s,%s" % (head, self._written)


def _response(body: bytes, status: bytes) -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % (status, len(body)) + body


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
        numbers = [_number(text) for text in request["input"]]
        service.count(0, numbers)
        send = partial(self._answer, numbers, request.get("encoding_format", "float"))
        if delay := service.delay():
            service.loop.call_later(delay, send)
        else:
            send()

    def _answer(self, numbers: list[int], encoding: str) -> None:
        if self._service.is_dying:
            os.kill(os.getpid(), signal.SIGKILL)
        self._transport.write(self._service.answer(numbers, encoding))
        self._service.count(1, numbers)


def _number(text: str) -> int:
    """Return the number that a text begins with, -1 if it begins with none."""
    digits = text[:_NUMBER]
    return int(digits) if digits.isdigit() else -1


async def _serve(settings: argparse.Namespace) -> None:
    service = Service(settings)
    service.loop.add_signal_handler(signal.SIGUSR1, service.throttle)
    service.loop.add_signal_handler(signal.SIGUSR2, service.die)
    listener = await service.loop.create_server(partial(Connection, service), "127.0.0.1", 0)
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
