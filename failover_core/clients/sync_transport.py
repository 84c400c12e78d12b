"""Synchronous exchanges: httpcore, with each operation cut to what the deadline leaves.

httpx and httpcore know timeouts of single operations only: a server that sends one byte a
second never exceeds one. So a network backend of our own stands under httpcore's pool.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar

import httpcore
import httpx

from failover_core.clients.body import BoundedBody

_CHUNK = 64 * 1024

_deadline: ContextVar[float] = ContextVar("deadline_of_an_exchange")


class StaleConnectionError(httpcore.NetworkError):
    """A connection that had rested ended before the first byte of an answer."""


class SyncTransport(httpx.BaseTransport):
    """Exchanges of any thread of one process.

    Args:
        ssl_context: for https; None for http.
        connect_timeout: seconds to connect, and seconds to agree on TLS.
        max_connections: exchanges at a time; further ones wait, within their deadline.
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
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl_context,
            max_connections=max_connections,
            keepalive_expiry=rest,
            network_backend=_DeadlineBackend(connect_timeout),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, read to the end."""
        with _running(request.extensions["deadline"]), _as_httpx():
            try:
                return self._exchange(request)
            except StaleConnectionError:
                return self._exchange(request)

    def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        self._pool.close()

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        response = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers=request.headers.raw,
                content=request.content,
                extensions={"timeout": {"pool": _left()}},
            )
        )
        with closing(response):
            body = BoundedBody(request)
            for chunk in response.iter_stream():
                body.add(chunk)
        return body.response(response.status, response.headers)


class _DeadlineBackend(httpcore.NetworkBackend):
    """Connects within the running deadline, and hands out streams that keep to it."""

    def __init__(self, connect_timeout: float) -> None:
        self._connect_timeout = connect_timeout
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = min(self._connect_timeout, _left())
        stream = self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return _DeadlineStream(stream, self._connect_timeout)


class _DeadlineStream(httpcore.NetworkStream):
    """A connection whose every operation gets what the running deadline leaves."""

    def __init__(self, stream: httpcore.NetworkStream, connect_timeout: float) -> None:
        self._stream = stream
        self._connect_timeout = connect_timeout
        self._is_reused = False
        self._is_answering = False

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        is_stale = self._is_reused and not self._is_answering
        try:
            received = self._stream.read(max_bytes, _left())
        except httpcore.ReadError as error:
            if is_stale:
                raise StaleConnectionError(str(error)) from error
            raise
        if is_stale and not received:
            message = "the server closed the connection while it rested"
            raise StaleConnectionError(message)
        self._is_reused = self._is_answering = True
        return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._is_answering = False
        for start in range(0, len(buffer), _CHUNK):
            self._stream.write(buffer[start : start + _CHUNK], _left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = min(self._connect_timeout, _left())
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _DeadlineStream(stream, self._connect_timeout)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left() -> float:
    """Return the seconds left.

    Raises:
        httpcore.ReadTimeout: there are none.
    """
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        message = "the deadline has passed"
        raise httpcore.ReadTimeout(message)
    return left


@contextmanager
def _running(deadline: float) -> Iterator[None]:
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


@contextmanager
def _as_httpx() -> Iterator[None]:
    """Raise httpcore's errors as httpx's, which have the same names."""
    try:
        yield
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
        kind = getattr(httpx, type(error).__name__, httpx.NetworkError)
        raise kind(str(error)) from error
