"""Doors into a client, and a server that sends exactly the bytes it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from failover_core.clients import (
    Description,
    EmbeddingEndpoint,
    HttpClient,
    RerankEndpoint,
)
from failover_core.embedding.protocol import Kind
from failover_core.reranking.protocol import RankedDocument

KEY = "sk-canary-1f0e2d3c4b5a69788796a5b4c3d2e1f0"


class Door:
    """One way into a client; the asynchronous one has one event loop for all its calls."""

    def __init__(self, runner: asyncio.Runner | None = None) -> None:
        self._runner = runner

    def embed(
        self, client: EmbeddingEndpoint, texts: Sequence[str], kind: Kind = Kind.PASSAGE
    ) -> NDArray[np.float32]:
        if self._runner is None:
            return client.embed(texts, kind)
        return self._runner.run(client.aembed(texts, kind), context=copy_context())

    def rerank(
        self,
        client: RerankEndpoint,
        documents: Sequence[str],
        top_n: int | None = None,
        *,
        query: str = "a query",
    ) -> list[RankedDocument]:
        if self._runner is None:
            return client.rerank(query, documents, top_n)
        return self._runner.run(client.arerank(query, documents, top_n), context=copy_context())

    def describe(self, client: HttpClient) -> Description:
        if self._runner is None:
            return client.describe()
        return self._runner.run(client.adescribe())


def answer(
    payload: Any, *, status: str = "200 OK", headers: Sequence[str] = (), keep: bool = True
) -> bytes:
    """A response in bytes."""
    body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    lines += [] if keep else ["Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def vectors(*rows: Any) -> dict[str, Any]:
    """The document of an ``/embeddings`` answer."""
    return {"data": [{"index": index, "embedding": row} for index, row in enumerate(rows)]}


Reply = bytes | Callable[[socket.socket], None]


@dataclass
class RawServer:
    """Answers the nth request with the nth reply, then closes; no reply is a close without one."""

    replies: list[Reply]
    context: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()

    def _start(self, target: Callable[..., None], *args: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=args))
        self._threads[-1].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self.context:
                connection = self.context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            while request := read_request(connection):
                self.requests.append(request)
                if not self.replies:
                    break
                reply = self.replies.pop(0)
                reply(connection) if callable(reply) else connection.sendall(reply)
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def read_request(connection: socket.socket) -> bytes:
    """Return one request whole; nothing if the client has gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body
