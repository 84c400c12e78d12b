"""An httpx transport, sync and async, over one pool of connections per process.

httpx's own async pool collapses at 64 concurrent requests, and belongs to one event loop; its
sync one knows timeouts of single operations but no deadline. This one

- ends every exchange at ``request.extensions["deadline"]`` (an instant of ``time.monotonic``),
  however slowly the server trickles;
- keeps the body below ``request.extensions["max_response_bytes"]`` and never decompresses it;
- serves threads, event loops and forked processes alike;
- sends a request again, once and on a new connection, if the connection it reused ended before
  the first byte of an answer: the server closed it while it rested. So a request must be one
  that may arrive twice; those of the clients only compute. A request on a new connection is
  sent once;
- follows no redirect, keeps no cookie, reads no environment variable (hence no proxy), and
  speaks HTTP/1.1.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import httpx

from failover_core.clients import sockets
from failover_core.clients.http1 import Answer, NoAnswerError, Steps, Wire, encode, exchange
from failover_core.clients.pool import Connection, Pool
from failover_core.clients.tls import TlsSession

if TYPE_CHECKING:
    from failover_core.clients.sockets import Flow

T = TypeVar("T")


class Transport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Carries requests to one server.

    Args:
        url: the server; requests are sent to its host and port whatever their own URL says.
        connect_timeout: seconds for name resolution, connection and TLS together.
        max_connections: exchanges at a time; further ones wait, within their deadline.
        ca_file: certificates to trust instead of those of ``certifi``.
    """

    def __init__(
        self,
        url: httpx.URL,
        *,
        connect_timeout: float = 5.0,
        max_connections: int = 100,
        ca_file: str | None = None,
    ) -> None:
        self._host, self._tls = url.host, url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)
        self._connect_timeout = connect_timeout
        self._max_connections = max_connections
        self._ca_file = ca_file
        self._pool = Pool(max_connections)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return its response, read to the end."""
        try:
            answer = sockets.drive(self._flow(request), request.extensions["deadline"])
        except TimeoutError as error:
            message = "no complete answer before the deadline"
            raise httpx.ReadTimeout(message) from error
        return _response(answer, request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Do what ``handle_request`` does."""
        try:
            answer = await sockets.adrive(self._flow(request), request.extensions["deadline"])
        except TimeoutError as error:
            message = "no complete answer before the deadline"
            raise httpx.ReadTimeout(message) from error
        return _response(answer, request)

    def close(self) -> None:
        """Close the connections at rest. A later request opens new ones."""
        self._pool.close()

    async def aclose(self) -> None:
        """Do what ``close`` does."""
        self.close()

    def _flow(self, request: httpx.Request) -> Flow[Answer]:
        pool = self._own_pool()
        turn = pool.enter()
        try:
            if turn:
                yield sockets.Wait(turn)
            return (yield from self._send(pool, request))
        finally:
            pool.leave(turn)

    def _own_pool(self) -> Pool:
        if self._pool.pid != os.getpid():
            inherited, self._pool = self._pool, Pool(self._max_connections)
            inherited.close()
        return self._pool

    def _send(self, pool: Pool, request: httpx.Request) -> Flow[Answer]:
        wire, limit = encode(request), request.extensions["max_response_bytes"]
        if connection := pool.take():
            try:
                return (yield from _exchange(pool, connection, wire, limit))
            except NoAnswerError:
                pass
        connection = yield from self._connect()
        return (yield from _exchange(pool, connection, wire, limit))

    def _connect(self) -> Flow[Connection]:
        until = time.monotonic() + self._connect_timeout
        try:
            addresses = yield from _resolve(self._host, self._port)
            connection = Connection((yield from _connect_any(addresses, until)))
            if self._tls:
                yield from self._start_tls(connection, until)
        except TimeoutError as error:
            message = f"could not connect to {self._host} within {self._connect_timeout} s"
            raise httpx.ConnectTimeout(message) from error
        except OSError as error:
            message = f"could not connect to {self._host}:{self._port}: {error}"
            raise httpx.ConnectError(message) from error
        return connection

    def _start_tls(self, connection: Connection, until: float) -> Flow[None]:
        connection.tls = TlsSession(_ssl_context(self._ca_file), self._host)
        try:
            yield from _on(connection.sock, connection.tls.handshake(), until)
        except BaseException:
            connection.sock.close()
            raise


def _exchange(pool: Pool, connection: Connection, wire: Wire, limit: int) -> Flow[Answer]:
    steps = exchange(wire, limit)
    if connection.tls:
        steps = connection.tls.protect(steps)
    answer = None
    try:
        answer = yield from _on(connection.sock, steps)
    except TimeoutError:
        raise
    except OSError as error:
        message = f"the connection broke: {error}"
        raise httpx.ReadError(message) from error
    finally:
        if answer is not None and answer.keeps_alive:
            pool.rest(connection)
        else:
            connection.sock.close()
    return answer


def _on(sock: socket.socket, steps: Steps[T], until: float = sockets.NEVER) -> Flow[T]:
    """Carry the steps of a protocol out on a socket."""
    try:
        step = next(steps)
        while True:
            try:
                if isinstance(step, int):
                    received = yield sockets.Receive(sock, step, until)
                else:
                    received = yield sockets.Send(sock, step, until)
            except OSError as error:
                step = steps.throw(error)
            else:
                step = steps.send(received)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def _resolve(host: str, port: int) -> Flow[list[tuple[int, int, int, tuple[object, ...]]]]:
    """Return the addresses of a host, without a resolver if it is an address already."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = yield sockets.Resolve(host, port)
    return [(family, kind, protocol, address) for family, kind, protocol, _, address in found]


def _connect_any(
    addresses: list[tuple[int, int, int, tuple[object, ...]]], until: float
) -> Flow[socket.socket]:
    """Return a socket to the first address that accepts; each has a share of the time."""
    for left in range(len(addresses), 0, -1):
        family, kind, protocol, address = addresses[-left]
        now = time.monotonic()
        sock = socket.socket(family, kind, protocol)
        try:
            yield sockets.Connect(sock, address, now + (until - now) / left)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()
            if left == 1:
                raise
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    message = "the host has no address"
    raise OSError(message)


@cache
def _ssl_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file:
        return ssl.create_default_context(cafile=ca_file)
    return httpx.create_ssl_context(trust_env=False)


def _response(answer: Answer, request: httpx.Request) -> httpx.Response:
    return httpx.Response(
        answer.status_code,
        headers=answer.headers,
        stream=httpx.ByteStream(answer.body),
        request=request,
    )
