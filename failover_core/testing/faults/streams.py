"""Faults of a chat stream after it has begun.

A stream is a chunk with the role, chunks with content, a chunk with the finish reason, perhaps
one with the usage, and ``[DONE]``. ``after_chunks`` counts chunks with content: 0 is right after
the role chunk, before a reader has anything to show.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from failover_core.testing.faults.answers import error_body
from failover_core.testing.faults.base import Fault
from failover_core.testing.faults.transport import Reset
from failover_core.testing.framing import Reply

if TYPE_CHECKING:
    from failover_core.testing.exchange import Exchange


@dataclass(frozen=True, slots=True)
class _Break(Fault):
    """A break after some chunks with content."""

    after_chunks: int = 1

    def spoil(self, reply: Reply) -> Reply:
        """Return the stream up to the break; any other answer as it is."""
        if reply.events is None:
            return reply
        return replace(reply, events=reply.events[: 1 + self.after_chunks])


@dataclass(frozen=True, slots=True)
class StreamReset(_Break):
    """A TCP reset in the middle of the stream: the server died."""

    async def play(self, exchange: Exchange) -> None:
        """Send the beginning of the stream and reset the connection."""
        await _play_cut(self, exchange)
        if exchange.reply.events is not None:
            exchange.reset()


@dataclass(frozen=True, slots=True)
class Dying(StreamReset):
    """A TCP reset in the middle of every answer, be it a stream or not."""

    async def play(self, exchange: Exchange) -> None:
        """Send the beginning of the answer and reset the connection."""
        if exchange.reply.events is not None:
            await StreamReset.play(self, exchange)
        else:
            await Reset(sum(map(len, exchange.reply.pieces())) // 2).play(exchange)


@dataclass(frozen=True, slots=True)
class StreamHang(_Break):
    """Silence in the middle of the stream, until the client gives up."""

    async def play(self, exchange: Exchange) -> None:
        """Send the beginning of the stream and fall silent."""
        await _play_cut(self, exchange)
        if exchange.reply.events is not None:
            await exchange.silence()


@dataclass(frozen=True, slots=True)
class StreamEnd(_Break):
    """An orderly end of the body without a finish reason or ``[DONE]``."""


@dataclass(frozen=True, slots=True)
class StreamError(_Break):
    """An error event inside the stream, which then ends."""

    code: int | str = 502
    message: str = "Provider disconnected"

    def spoil(self, reply: Reply) -> Reply:
        """Return the stream up to the break, and the error."""
        return _then(_Break.spoil(self, reply), error_body(self.message, code=self.code))


@dataclass(frozen=True, slots=True)
class MalformedChunk(_Break):
    """A ``data:`` line that is not JSON, after which the stream ends."""

    def spoil(self, reply: Reply) -> Reply:
        """Return the stream up to the break, and half a chunk."""
        return _then(_Break.spoil(self, reply), b'data: {"choices": [{"delta"\n\n')


@dataclass(frozen=True, slots=True)
class MissingDone(Fault):
    """A whole stream, finish reason included, that ends without ``[DONE]``: harmless."""

    def spoil(self, reply: Reply) -> Reply:
        """Return the stream without its last event."""
        return reply if reply.events is None else replace(reply, events=reply.events[:-1])


def _then(reply: Reply, event: object) -> Reply:
    return reply if reply.events is None else replace(reply, events=(*reply.events, event))


async def _play_cut(fault: _Break, exchange: Exchange) -> None:
    """Send the stream up to the break, without the terminator that would end it in order."""
    reply = fault.spoil(exchange.reply)
    pieces = reply.pieces()
    await exchange.write(pieces if reply.events is None else pieces[:-1])
