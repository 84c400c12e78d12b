"""TLS on one connection, without any I/O: it wraps the steps of an exchange."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from failover_core.clients.http1 import RECEIVE, Steps

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class TlsSession:
    """The TLS state of one connection."""

    def __init__(self, context: ssl.SSLContext, hostname: str) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)

    def handshake(self) -> Steps[None]:
        """Agree on keys and check the server's certificate."""
        return self._carry(self._tls.do_handshake)

    def protect(self, steps: Steps[T]) -> Steps[T]:
        """Encrypt what the steps send, and decrypt what they receive."""
        try:
            step = next(steps)
            while True:
                move = self._read(step) if isinstance(step, int) else self._write(step)
                try:
                    received = yield from move
                except OSError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(received)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _read(self, size: int) -> Steps[bytes]:
        try:
            return (yield from self._carry(partial(self._tls.read, size)))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def _write(self, data: bytes) -> Steps[bytes]:
        sent = 0
        while sent < len(data):
            sent += yield from self._carry(partial(self._tls.write, memoryview(data)[sent:]))
        return b""

    def _carry(self, action: Callable[[], T]) -> Steps[T]:
        """Repeat an action of the TLS engine, moving its bytes, until it is done."""
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                yield from self._flush()
                self._feed((yield RECEIVE))
            else:
                yield from self._flush()
                return result

    def _flush(self) -> Steps[None]:
        if self._outgoing.pending:
            yield self._outgoing.read()

    def _feed(self, data: bytes) -> None:
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
