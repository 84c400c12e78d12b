"""Asynchronous exchanges: aiohttp under httpx's interface, one session per event loop.

httpx's own async pool searches all its connections for each request and collapses at 64
concurrent ones; aiohttp's does not.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import aiohttp
import httpx

from failover_core.clients.body import BoundedBody

_NEVER = float("inf")
_SHORTEST = 0.001


class AsyncTransport(httpx.AsyncBaseTransport):
    """Exchanges of any event loop of one process.

    Args:
        ssl_context: for https; None for http.
        connect_timeout: seconds to connect and to agree on TLS.
        max_connections: exchanges of one loop at a time; further ones wait, within their deadline.
        rest: seconds a connection is kept without use.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext | None,
        *,
        connect_timeout: float,
        max_connections: int,
        rest: float,
    ) -> None:
        self._ssl_context = ssl_context
        self._connect_timeout = connect_timeout
        self._max_connections = max_connections
        self._rest = rest
        self._sessions: dict[
            asyncio.AbstractEventLoop,
            tuple[aiohttp.ClientSession, AsyncGenerator[aiohttp.ClientSession]],
        ] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, read to the end."""
        session = await self._session()
        trace = SimpleNamespace(is_reused=False)
        with _as_httpx():
            try:
                return await self._exchange(session, request, trace)
            except aiohttp.ServerDisconnectedError:
                # A connection that had rested was closed meanwhile: that is not an answer.
                if not trace.is_reused:
                    raise
                return await self._exchange(session, request, trace)

    async def aclose(self) -> None:
        """Close the connections of the running loop; a later request opens new ones."""
        if held := self._sessions.get(asyncio.get_running_loop()):
            await held[1].aclose()

    async def _exchange(
        self, session: aiohttp.ClientSession, request: httpx.Request, trace: SimpleNamespace
    ) -> httpx.Response:
        sending = session.request(
            request.method,
            str(request.url),
            data=request.content,
            headers=request.headers,
            timeout=aiohttp.ClientTimeout(
                total=max(_SHORTEST, request.extensions["deadline"] - time.monotonic()),
                sock_connect=self._connect_timeout,
                ceil_threshold=_NEVER,  # or aiohttp rounds timeouts above 5 s up to whole seconds
            ),
            allow_redirects=False,
            trace_request_ctx=trace,
        )
        async with sending as response:
            body = BoundedBody(request)
            async for chunk in response.content.iter_any():
                body.add(chunk)
        return body.response(response.status, response.raw_headers)

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            for closed in [known for known in self._sessions if known.is_closed()]:
                del self._sessions[closed]
            lifetime = self._keep_session(loop)
            self._sessions[loop] = (await anext(lifetime), lifetime)
        return self._sessions[loop][0]

    async def _keep_session(
        self, loop: asyncio.AbstractEventLoop
    ) -> AsyncGenerator[aiohttp.ClientSession]:
        """Yield a session, and close it when the loop shuts down.

        A loop has no hook for its end, but it closes the asynchronous generators begun in it
        (``asyncio.run`` does so by ``loop.shutdown_asyncgens()``): hence this one.
        """
        connector = aiohttp.TCPConnector(
            ssl=self._ssl_context or True, limit=self._max_connections, keepalive_timeout=self._rest
        )
        reuse = aiohttp.TraceConfig()
        reuse.on_connection_reuseconn.append(_note_reuse)
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trace_configs=[reuse],
        )
        try:
            yield session
        finally:
            self._sessions.pop(loop, None)
            await session.close()


async def _note_reuse(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.is_reused = True


# The first that fits counts: aiohttp's timeouts are connection errors too.
_ERRORS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (TimeoutError, httpx.ReadTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (aiohttp.ClientError, httpx.ReadError),
    (OSError, httpx.ReadError),
)


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        kind = next(theirs for ours, theirs in _ERRORS if isinstance(error, ours))
        raise kind(str(error) or type(error).__name__) from error
