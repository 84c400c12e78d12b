"""One httpx transport, sync and async, for the exchanges of a client.

Every exchange

- ends at ``request.extensions["deadline"]`` (an instant of ``time.monotonic``), however slowly
  the server trickles;
- is sent again, once and on a new connection, if the connection it reused had been closed while
  it rested. So a request must be one that may arrive twice; those of the clients only compute;
- follows no redirect, keeps no cookie, and reads no proxy from the environment.

Sync exchanges share one pool of connections per process, async ones one per event loop.
"""

from __future__ import annotations

import os
import ssl
import weakref
from functools import cache
from typing import TYPE_CHECKING

import httpx

from failover_core.clients.sync_transport import SyncTransport

if TYPE_CHECKING:
    from failover_core.clients.async_transport import AsyncTransport

REST = 4.0
"""Seconds a connection is kept without use: less than uvicorn's 5 s, the shortest that matters,
so that we rarely send into a connection that its server is about to close."""


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Carries the requests of any thread, event loop or forked process.

    Args:
        url: the server; it tells whether TLS is needed.
        connect_timeout: seconds to connect, and seconds to agree on TLS.
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
        self._async: AsyncTransport | None = None
        self._inherited: list[SyncTransport] = []
        self._sync = self._new_sync()
        _TRANSPORTS.add(self)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return self._sync.handle_request(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if self._async is None:
            # Who never awaits does not pay for the import of aiohttp.
            from failover_core.clients.async_transport import AsyncTransport  # noqa: PLC0415

            self._async = AsyncTransport(
                self._ssl_context,
                connect_timeout=self._connect_timeout,
                max_connections=self._max_connections,
                rest=REST,
            )
        return await self._async.handle_async_request(request)

    def close(self) -> None:
        """Close the connections of this process; a later request opens new ones."""
        self._sync.close()

    async def aclose(self) -> None:
        """Close the connections of this process and of the running loop."""
        self.close()
        if self._async is not None:
            await self._async.aclose()

    def renew_after_fork(self) -> None:
        """Leave the connections to the parent, whose they are, and open new ones."""
        self._inherited.append(self._sync)  # closing it might wait for a lock that nobody holds
        self._sync = self._new_sync()

    def _new_sync(self) -> SyncTransport:
        return SyncTransport(
            self._ssl_context,
            connect_timeout=self._connect_timeout,
            max_connections=self._max_connections,
            rest=REST,
        )


_TRANSPORTS: weakref.WeakSet[Transport] = weakref.WeakSet()


def _renew_all() -> None:
    for transport in tuple(_TRANSPORTS):
        transport.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


@cache
def _ssl_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    return httpx.create_ssl_context(trust_env=False)
