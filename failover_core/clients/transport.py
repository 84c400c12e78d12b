"""The transport of the clients: aiohttp's connections, sync and async, under a deadline.

httpx's own async pool searches all its connections for each request and collapses at 64
concurrent ones; its sync one knows timeouts of single operations but no deadline; and its
requests and answers alone cost as much as aiohttp's whole exchange. Its errors are those that
users know. Here every exchange

- ends at the request's ``deadline``, however slowly the server trickles;
- is bounded by its ``max_response_bytes``;
- is sent again, once and on a new connection, if the connection it reused had been closed while
  it rested. So a request must be one that may arrive twice; those of the clients only compute;
- follows no redirect, keeps no cookie, and reads no proxy from the environment.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import ssl
import time
import weakref
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, NamedTuple

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from failover_core.clients.exchange import Request, Response
from failover_core.clients.io_thread import PATIENCE, result_of, submit
from failover_core.errors import MalformedResponseError

_REST = 4.0
"""Seconds a connection is kept without use: less than uvicorn's 5 s, the shortest that matters,
so that we rarely send into a connection that its server is about to close."""

_AT_ONCE = 256 * 1024
_NEVER = float("inf")

# The first that fits counts: aiohttp's timeouts are connection errors too.
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError], str], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "could not connect in time"),
    (TimeoutError, httpx.ReadTimeout, "no complete answer before the deadline"),
    (aiohttp.ClientConnectorError, httpx.ConnectError, "could not connect"),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, "the server hung up"),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, "the answer broke off"),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError, "the answer is no HTTP"),
    (Exception, httpx.ReadError, "the connection broke"),
)


class Transport:
    """Carries the requests of any thread, event loop or forked process to one server.

    Args:
        url: the server; it tells whether TLS is needed.
        connect_timeout: seconds to connect and to agree on TLS.
        max_connections: exchanges at a time; further ones wait, within their deadline.
        ca_file: certificates (PEM) to trust instead of those of ``certifi``.
    """

    def __init__(
        self,
        url: httpx.URL,
        *,
        connect_timeout: float = 5.0,
        max_connections: int = 100,
        ca_file: str | None = None,
    ) -> None:
        self._ssl_context = _ssl_context(ca_file) if url.scheme == "https" else None
        self._connect_timeout = connect_timeout
        self._max_connections = max_connections
        self._sessions: _Sessions = {}
        self.connections = 0
        """Those that have brought an answer: a new one may lead to a server that restarted."""
        weakref.finalize(self, _close, self._sessions).atexit = False

    def send(self, request: Request) -> Response:
        """Send a request and return its answer.

        Raises:
            MalformedResponseError: the answer is too long.
            httpx.TransportError: there is none.
        """
        exchange = submit(self._send(request))
        try:
            return exchange.result()
        finally:
            exchange.cancel()  # when the caller was interrupted; else it is over

    async def asend(self, request: Request) -> Response:
        """Do what ``send`` does."""
        return await result_of(submit(self._send(request)))

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        if closing := _close(self._sessions):
            closing.result()

    async def aclose(self) -> None:
        """Close the connections; a later request opens new ones."""
        if closing := _close(self._sessions):
            await result_of(closing)

    async def _send(self, request: Request) -> Response:
        try:
            return await self._exchange_or_repeat(request)
        except (aiohttp.ClientError, OSError) as error:
            kind, words = next(row[1:] for row in _ERRORS if isinstance(error, row[0]))
        # Raised out here, where it does not carry aiohttp's error along: that one may quote
        # what the server sent, a key among it.
        raise kind(words)

    async def _exchange_or_repeat(self, request: Request) -> Response:
        try:
            return await self._exchange(request)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A connection that had rested was closed meanwhile: that is not an answer.
            line = _line.get()
            if line is None or not line.is_reused:
                raise
        return await self._exchange(request)

    async def _exchange(self, request: Request) -> Response:
        left = request.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        body = request.content
        sending = self._session().request(
            request.method,
            request.url,
            # aiohttp sends a file piece by piece; so many bytes at once would hold up the others.
            data=io.BytesIO(body) if len(body) > _AT_ONCE else body,
            headers=request.headers,
            timeout=aiohttp.ClientTimeout(
                total=left,
                sock_connect=self._connect_timeout,
                ceil_threshold=_NEVER,  # or aiohttp rounds timeouts above 5 s up to whole seconds
            ),
            allow_redirects=False,
        )
        try:
            async with sending as response:
                if (line := _line.get()) and not line.is_reused:
                    self.connections += 1
                content = await _bounded(response, request.max_response_bytes)
        except BaseException:
            # aiohttp closes it, which waits until the server has read what was sent to it.
            if line := _line.get():
                line.transport.abort()
            raise
        return Response(response.status, response.headers, content)

    def _session(self) -> aiohttp.ClientSession:
        """Return the session of the I/O thread's loop; a forked process has another loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            self._sessions[loop] = session = aiohttp.ClientSession(
                connector=_Connector(
                    ssl=self._ssl_context or True,
                    limit=self._max_connections,
                    keepalive_timeout=_REST,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
            _OPEN[session] = loop
        return self._sessions[loop]


class _Line(NamedTuple):
    """The connection of an exchange, and whether it has served one before."""

    transport: asyncio.Transport
    is_reused: bool


_line: ContextVar[_Line | None] = ContextVar("_line", default=None)
"""That of the running exchange, as soon as it has one."""


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: weakref.WeakSet[asyncio.Transport] = weakref.WeakSet()

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        if transport := connection.transport:
            _line.set(_Line(transport, transport in self._used))
            self._used.add(transport)
        return connection


async def _bounded(response: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks: list[bytes] = []
    left = limit
    async for chunk in response.content.iter_any():
        left -= len(chunk)
        if left < 0:
            message = f"the answer is longer than max_response_bytes ({limit})"
            raise MalformedResponseError(message)
        chunks.append(chunk)
    return b"".join(chunks)


_Sessions = dict[asyncio.AbstractEventLoop, aiohttp.ClientSession]
_OPEN: weakref.WeakKeyDictionary[aiohttp.ClientSession, asyncio.AbstractEventLoop]
_OPEN = weakref.WeakKeyDictionary()


def _close(sessions: _Sessions) -> Future[None] | None:
    """Close this process's session, in the I/O thread; None if there is none."""

    async def close() -> None:
        if session := sessions.pop(asyncio.get_running_loop(), None):
            await session.close()

    return submit(close()) if sessions else None


def _close_at_exit() -> None:
    async def close() -> None:
        for session, loop in tuple(_OPEN.items()):
            if loop is asyncio.get_running_loop():
                await session.close()

    if _OPEN:
        with suppress(TimeoutError):
            submit(close()).result(PATIENCE)


# After the import of io_thread: what is registered later runs earlier, while the thread is there.
atexit.register(_close_at_exit)


@cache
def _ssl_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    return httpx.create_ssl_context(trust_env=False)
