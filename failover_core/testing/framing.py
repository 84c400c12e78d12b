"""HTTP/1.1 as bytes: a request read from a stream, a reply written out in pieces."""

from __future__ import annotations

import time
from asyncio import StreamReader
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any

import orjson

_MAX_BODY = 1 << 28
_TERMINATOR = b"0\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """One request as the server received it.

    Attributes:
        method: in capitals.
        path: without the query string.
        query: the query string, without its question mark.
        headers: by lower-case name, keys and tokens included, so that a test may look for leaks.
        content: the raw body.
        time: when it had arrived whole, in seconds of ``time.monotonic()``.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    content: bytes
    time: float

    @cached_property
    def body(self) -> Any:
        """The JSON body, or None if there is none or it is not JSON."""
        try:
            return orjson.loads(self.content)
        except orjson.JSONDecodeError:
            return None

    @property
    def keep_alive(self) -> bool:
        """Whether the client means to send another request on the connection."""
        return self.headers.get("connection", "").lower() != "close"


async def read_request(reader: StreamReader) -> Request:
    """Read one request; raises IncompleteReadError when the client has closed."""
    head = await reader.readuntil(b"\r\n\r\n")
    request_line, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = request_line.split(" ", 2)
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    path, _, query = target.partition("?")
    content = await _read_body(reader, headers)
    return Request(method, path, query, headers, content, time.monotonic())


async def _read_body(reader: StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _read_chunks(reader)
    length = int(headers.get("content-length", 0))
    return await reader.readexactly(min(length, _MAX_BODY)) if length else b""


async def _read_chunks(reader: StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        pass  # trailers say nothing that a test needs
    return bytes(body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, still as objects, so that a fault can spoil it before it is written.

    Attributes:
        status: the HTTP status.
        payload: the body; anything but bytes is written as JSON.
        headers: beside the content's type and length, which are derived.
        events: the events of a server-sent stream, which then takes the place of ``payload``;
            anything but bytes is written as a ``data:`` line of JSON.
        encode: how to write what orjson does not know (a numpy row, as floats by default).
        shape: puts the payload in the words of a vendor when it is written, after a fault had it.
    """

    status: int = 200
    payload: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    events: tuple[Any, ...] | None = None
    encode: Callable[[Any], Any] | None = None
    shape: Callable[[Any], Any] | None = None

    def pieces(self) -> list[bytes]:
        """Return the bytes of the answer in the pieces in which they are sent."""
        if self.events is None:
            body = self.body()
            return [self.head({"content-length": str(len(body))}) + body]
        head = self.head({"transfer-encoding": "chunked"})
        return [head, *(chunk(_event(event)) for event in self.events), _TERMINATOR]

    def body(self) -> bytes:
        """Return the body in bytes."""
        if isinstance(self.payload, bytes):
            return self.payload
        if self.encode is None:
            return orjson.dumps(self.shaped(), option=orjson.OPT_SERIALIZE_NUMPY)
        return orjson.dumps(self.shaped(), default=self.encode)

    def shaped(self) -> Any:
        """Return the payload in the words of the vendor."""
        return self.payload if self.shape is None else self.shape(self.payload)

    def head(self, framing: dict[str, str]) -> bytes:
        """Return the status line and the headers, those of the framing among them."""
        kind = "application/json" if self.events is None else "text/event-stream"
        headers = {"content-type": kind, **framing, **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} {_reason(self.status)}\r\n{lines}\r\n".encode("latin-1")


def chunk(data: bytes) -> bytes:
    """Frame bytes as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(event: Any) -> bytes:
    return event if isinstance(event, bytes) else b"data: " + orjson.dumps(event) + b"\n\n"


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
