"""HTTP/1.1, one exchange on one connection, without any I/O.

``exchange`` is a generator of what to do with the socket: it yields bytes to send, or the
largest number of bytes to receive, and gets what came (``b""`` at the end of the stream). A
server that says anything ambiguous is refused rather than interpreted (RFC 9112).
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import httpx

from failover_core.errors import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

Steps = Generator["bytes | int", bytes, T]
"""Yields bytes to send or a number of bytes to receive at the most; returns a ``T``."""

MAX_HEAD = 64 * 1024
"""Longest status line and headers, and longest trailer, in bytes."""

RECEIVE = 64 * 1024
MAX_RECEIVE = 1024 * 1024

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_LENGTH = re.compile(rb"\d{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")


_FRAMING = (b"content-length", b"transfer-encoding")


class Wire(bytes):
    """Bytes of a request. Their repr hides them from tracebacks: they hold a key and texts."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response.

    Attributes:
        status_code: the final HTTP status.
        headers: names (as they came) and values, in order.
        body: the content, transfer coding removed, content coding left as it is.
        keeps_alive: whether the connection can carry another exchange.
    """

    status_code: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    keeps_alive: bool


class NoAnswerError(httpx.RemoteProtocolError):
    """The connection ended before the first byte of an answer."""


def encode(request: httpx.Request) -> Wire:
    """Return a request as the bytes to send. Its framing is ours, whatever its headers say."""
    body = request.read()
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)]
    lines += [
        b"%b: %b" % field for field in request.headers.raw if field[0].lower() not in _FRAMING
    ]
    lines.append(b"Content-Length: %d\r\n\r\n" % len(body))
    return Wire(b"\r\n".join(lines) + body)


def exchange(request: Wire, max_body: int) -> Steps[Answer]:
    """Send a request and read its answer.

    Raises:
        NoAnswerError: the stream ended before the first byte of the answer.
        httpx.RemoteProtocolError: the answer was cut short, or is not HTTP/1.1.
        MalformedResponseError: the body is longer than ``max_body`` bytes.
    """
    # A server may refuse a long request, and close, before it has read all of it.
    with suppress(ConnectionError):
        yield request
    reader = _Reader()
    status, minor, headers = yield from _head(reader)
    while status < 200:  # noqa: PLR2004 - 1xx announce the answer, they are none
        status, minor, headers = yield from _head(reader)
    fields = _Fields(headers)
    framed = status in (204, 304) or fields.chunked or fields.length is not None
    body = b"" if status in (204, 304) else (yield from _body(reader, fields, max_body))
    keeps_alive = framed and not reader.buffer and fields.persistent(minor)
    return Answer(status, headers, body, keeps_alive)


class _Reader:
    """The bytes received and not yet understood."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.ended = False

    def more(self, wanted: int = 0) -> Steps[None]:
        data = yield min(max(wanted, RECEIVE), MAX_RECEIVE)
        self.buffer += data
        self.ended = not data

    def until(self, mark: bytes) -> Steps[bytes]:
        """Take everything before a mark, and drop the mark."""
        searched = 0
        while (end := self.buffer.find(mark, searched)) < 0:
            if len(self.buffer) > MAX_HEAD:
                message = "the server sent an endless line"
                raise httpx.RemoteProtocolError(message)
            searched = max(0, len(self.buffer) - len(mark) + 1)
            yield from self.more()
            self._expect_data()
        taken = bytes(self.buffer[:end])
        del self.buffer[: end + len(mark)]
        return taken

    def exactly(self, size: int) -> Steps[bytes]:
        while len(self.buffer) < size:
            yield from self.more(size - len(self.buffer))
            self._expect_data()
        if len(self.buffer) == size:
            taken, self.buffer = bytes(self.buffer), bytearray()
        else:
            taken = bytes(self.buffer[:size])
            del self.buffer[:size]
        return taken

    def _expect_data(self) -> None:
        if self.ended:
            message = "the server closed the connection within its answer"
            raise httpx.RemoteProtocolError(message)


def _head(reader: _Reader) -> Steps[tuple[int, int, list[tuple[bytes, bytes]]]]:
    if not reader.buffer:
        with suppress(ConnectionError):
            yield from reader.more()
        if not reader.buffer:
            message = "the server closed the connection without an answer"
            raise NoAnswerError(message)
    if not reader.buffer.startswith(b"HTTP/1."[: len(reader.buffer)]):
        message = "the server does not answer in HTTP/1.1"
        raise httpx.RemoteProtocolError(message)
    first, *lines = (yield from reader.until(b"\r\n\r\n")).split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    fields = [_HEADER.fullmatch(line) for line in lines]
    if not status or not all(fields):
        message = "the server sent a malformed status line or header"
        raise httpx.RemoteProtocolError(message)
    headers = [(field[1], field[2]) for field in fields if field]
    return int(status[2]), int(status[1]), headers


class _Fields:
    """The headers that say where the body ends, and what follows it."""

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        codings = self._values(headers, b"transfer-encoding")
        lengths = set(self._values(headers, b"content-length"))
        self._connection = self._values(headers, b"connection")
        if codings not in ([], [b"chunked"]) or len(lengths) > 1 or (codings and lengths):
            message = "the server framed its answer ambiguously"
            raise httpx.RemoteProtocolError(message)
        if not all(map(_LENGTH.fullmatch, lengths)):
            message = "the server sent an invalid Content-Length"
            raise httpx.RemoteProtocolError(message)
        self.chunked = bool(codings)
        self.length = int(lengths.pop()) if lengths else None

    @staticmethod
    def _values(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
        joined = b",".join(value for key, value in headers if key.lower() == name)
        return [value.strip().lower() for value in joined.split(b",") if value.strip()]

    def persistent(self, minor: int) -> bool:
        return b"close" not in self._connection and (
            minor == 1 or b"keep-alive" in self._connection
        )


def _body(reader: _Reader, fields: _Fields, max_body: int) -> Steps[bytes]:
    if fields.chunked:
        return (yield from _chunks(reader, max_body))
    if fields.length is not None:
        _bound(fields.length, max_body)
        return (yield from reader.exactly(fields.length))
    while not reader.ended:
        _bound(len(reader.buffer), max_body)
        yield from reader.more()
    taken, reader.buffer = bytes(reader.buffer), bytearray()
    return taken


def _chunks(reader: _Reader, max_body: int) -> Steps[bytes]:
    body = bytearray()
    while size := (yield from _chunk_size(reader)):
        _bound(len(body) + size, max_body)
        body += yield from reader.exactly(size)
        if (yield from reader.exactly(2)) != b"\r\n":
            message = "the server sent a malformed chunk"
            raise httpx.RemoteProtocolError(message)
    while (yield from reader.until(b"\r\n")):
        pass  # trailers say nothing that is needed
    return bytes(body)


def _chunk_size(reader: _Reader) -> Steps[int]:
    line = _CHUNK_SIZE.fullmatch((yield from reader.until(b"\r\n")))
    if not line:
        message = "the server sent a malformed chunk"
        raise httpx.RemoteProtocolError(message)
    return int(line[1], 16)


def _bound(size: int, max_body: int) -> None:
    if size > max_body:
        message = f"the answer is longer than max_response_bytes ({max_body} bytes)"
        raise MalformedResponseError(message)
