"""Faults of the connection: the answer comes late, in part, in dribbles, or never."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from failover_core.errors import ConfigurationError
from failover_core.testing.faults.answers import Status
from failover_core.testing.faults.base import Fault
from failover_core.testing.framing import chunk

if TYPE_CHECKING:
    from failover_core.testing.exchange import Exchange

_BLOCK = 1 << 16
_TICK = 0.02


@dataclass(frozen=True, slots=True)
class _ServerFault(Fault):
    """Strikes the whole server: it cannot be set for one path, in a script or in a ``Flap``."""

    async def play(self, exchange: Exchange) -> None:
        """Reset a connection that was accepted just before the fault was set."""
        exchange.reset()


@dataclass(frozen=True, slots=True)
class Refuse(_ServerFault):
    """Nobody listens: new connections are refused, live ones are reset.

    It strikes the whole server, so it cannot be set for one path, in a script or in a ``Flap``.
    """


@dataclass(frozen=True, slots=True)
class TlsFailure(_ServerFault):
    """No client can agree with the server on TLS; live connections are reset.

    Only for a server with a ``certificate``. It strikes the whole server, as ``Refuse`` does.
    """


@dataclass(frozen=True, slots=True)
class Reset(Fault):
    """A TCP reset after ``after_bytes`` bytes of the answer; 0 is before the first of them."""

    after_bytes: int = 0

    async def play(self, exchange: Exchange) -> None:
        """Send the beginning of the answer and reset the connection."""
        await exchange.write([_beginning(exchange, self.after_bytes)])
        exchange.reset()


@dataclass(frozen=True, slots=True)
class Hang(Fault):
    """Silence after ``after_bytes`` bytes of the answer, until the client gives up."""

    after_bytes: int = 0

    async def play(self, exchange: Exchange) -> None:
        """Send the beginning of the answer and fall silent."""
        await exchange.write([_beginning(exchange, self.after_bytes)])
        await exchange.silence()


@dataclass(frozen=True, slots=True)
class Trickle(Fault):
    """The right answer, headers too, ``size`` bytes every ``period`` seconds.

    Timeouts between two reads never see it; only a deadline over the whole answer does.
    """

    period: float = 0.05
    size: int = 1

    async def play(self, exchange: Exchange) -> None:
        """Send the answer in dribbles."""
        answer = b"".join(exchange.reply.pieces())
        dribbles = (answer[at : at + self.size] for at in range(0, len(answer), self.size))
        await exchange.write(dribbles, pause=self.period)


@dataclass(frozen=True, slots=True)
class Bandwidth(Fault):
    """The right answer, headers too, over a line of so many ``bytes_per_second``."""

    bytes_per_second: float = 16_384.0

    async def play(self, exchange: Exchange) -> None:
        """Send the answer as fast as the line allows."""
        size = max(1, round(self.bytes_per_second * _TICK))
        await Trickle(size / self.bytes_per_second, size).play(exchange)


@dataclass(frozen=True, slots=True)
class SlowClose(Fault):
    """The right answer without a length, ended by a close that comes ``seconds`` late."""

    seconds: float = 1.0

    async def play(self, exchange: Exchange) -> None:
        """Send the answer, and close after a while."""
        head, *chunks = exchange.reply.pieces()
        if not chunks:
            head = exchange.reply.head({"connection": "close"}) + exchange.reply.body()
        await exchange.write([head, *chunks[:-1]])
        await asyncio.sleep(self.seconds)
        await exchange.write(chunks[-1:])
        exchange.close()


@dataclass(frozen=True, slots=True)
class Truncate(Fault):
    """A close (FIN) in the middle of the body: ``missing`` announced bytes are never sent."""

    missing: int = 10

    async def play(self, exchange: Exchange) -> None:
        """Send all but the end of the answer and close."""
        answer = b"".join(exchange.reply.pieces())
        await exchange.write([answer[: -self.missing]])
        exchange.close()


@dataclass(frozen=True, slots=True)
class Slow(Fault):
    """The right answer after ``seconds``; the others at once if only a ``share`` is slow."""

    seconds: float = 1.0
    share: float = 1.0

    async def play(self, exchange: Exchange) -> None:
        """Wait, or be lucky, then answer."""
        if random.random() < self.share:  # noqa: S311 - no secret
            await asyncio.sleep(self.seconds)
        await exchange.send(exchange.reply)


@dataclass(frozen=True, slots=True)
class Flap(Fault):
    """``fault`` for ``period`` seconds, health for as long, and so on in turn."""

    period: float = 1.0
    fault: Fault = field(default_factory=lambda: Status(503))

    def __post_init__(self) -> None:
        if strikes_server(self.fault):
            message = (
                f"fault flap: fault cannot be {type(self.fault).__name__}, "
                "which strikes a whole server; use Reset"
            )
            raise ConfigurationError(message)

    async def play(self, exchange: Exchange) -> None:
        """Fail or serve, as its turn is."""
        await (Fault() if self.serves(exchange.fault_age) else self.fault).play(exchange)

    def serves(self, age: float) -> bool:
        """Return whether it serves ``age`` seconds after it was set: it begins by failing."""
        return int(age / self.period) % 2 == 1


@dataclass(frozen=True, slots=True)
class HugeBody(Fault):
    """A 200 whose body is ``size`` bytes of JSON string, sent in chunks as fast as they go."""

    size: int = 1 << 30

    async def play(self, exchange: Exchange) -> None:
        """Send the bytes without ever holding them."""
        reply = replace(exchange.reply, events=None)
        await exchange.write([reply.head({"transfer-encoding": "chunked"})])
        await exchange.write(self._chunks())

    def _chunks(self) -> Iterator[bytes]:
        yield chunk(b'"')
        for at in range(0, self.size, _BLOCK):
            yield chunk(b"x" * min(_BLOCK, self.size - at))
        yield chunk(b'"') + chunk(b"")


def strikes_server(fault: Fault | None) -> bool:
    """Return whether a fault is one of connections before any request, so of all of them."""
    return isinstance(fault, _ServerFault)


def _beginning(exchange: Exchange, size: int) -> bytes:
    return b"".join(exchange.reply.pieces())[:size] if size else b""
