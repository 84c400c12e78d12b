"""httpx clients to put under a vendor's SDK.

An SDK's own client follows redirects, with which a prompt would go to any server that another
one names. And its asynchronous client keeps connections of an event loop that is over, so that
the first calls in the next loop fail on a server that is well. These clients do neither.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator

import httpx

_LIMITS = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=4.0)
"""Connections rest for less than uvicorn's 5 s: we rarely send into one about to be closed."""


def sdk_clients() -> tuple[httpx.Client, httpx.AsyncClient]:
    """Return a sync and an async client that follow no redirect, and serve any event loop.

    Timeouts are those that the SDK gives to each request.
    """
    return (
        httpx.Client(transport=ProcessTransport(), follow_redirects=False),
        httpx.AsyncClient(transport=LoopTransport(), follow_redirects=False),
    )


class ProcessTransport(httpx.BaseTransport):
    """Keeps one pool of connections for each process: a fork opens new ones."""

    def __init__(self) -> None:
        self._inherited: list[httpx.HTTPTransport] = []
        self._open()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        if self._process != os.getpid():
            self._inherited.append(self._transport)  # closing would end the parent's connections
            self._open()
        return self._transport.handle_request(request)

    def close(self) -> None:
        """Close the connections; a later request opens new ones."""
        self._transport.close()

    def _open(self) -> None:
        self._process = os.getpid()
        self._transport = httpx.HTTPTransport(limits=_LIMITS)
        weakref.finalize(self, self._transport.close)


class LoopTransport(httpx.AsyncBaseTransport):
    """Keeps one pool of connections for each event loop."""

    def __init__(self) -> None:
        self._lifetimes: dict[
            asyncio.AbstractEventLoop,
            tuple[httpx.AsyncHTTPTransport, AsyncGenerator[httpx.AsyncHTTPTransport]],
        ] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        return await (await self._transport()).handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections of the running loop; a later request opens new ones."""
        if held := self._lifetimes.get(asyncio.get_running_loop()):
            await held[1].aclose()

    async def _transport(self) -> httpx.AsyncHTTPTransport:
        loop = asyncio.get_running_loop()
        if loop not in self._lifetimes:
            for over in [known for known in self._lifetimes if known.is_closed()]:
                del self._lifetimes[over]
            lifetime = self._live(loop)
            self._lifetimes[loop] = (await anext(lifetime), lifetime)
        return self._lifetimes[loop][0]

    async def _live(
        self, loop: asyncio.AbstractEventLoop
    ) -> AsyncGenerator[httpx.AsyncHTTPTransport]:
        """Yield a transport, and close it when whoever runs the loop shuts its generators down."""
        transport = httpx.AsyncHTTPTransport(limits=_LIMITS)
        try:
            yield transport
        finally:
            self._lifetimes.pop(loop, None)
            if loop.is_running():  # else its process is ending, as with nested loops
                await transport.aclose()
