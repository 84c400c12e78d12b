"""Faults of the answer as a whole: statuses, redirects, bodies that are no answer at all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from failover_core.testing.faults.base import Fault
from failover_core.testing.framing import Reply

if TYPE_CHECKING:
    from failover_core.testing.exchange import Exchange

_LISTS = ("input", "inputs", "texts", "documents")
"""Where the protocols have what a request asks to be embedded or ranked."""


@dataclass(frozen=True, slots=True)
class Status(Fault):
    """An error status.

    ``body`` is the JSON (or the bytes) of the answer; None gives an OpenAI-shaped error object.
    """

    code: int = 500
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def spoil(self, reply: Reply) -> Reply:  # noqa: ARG002 - nothing of the answer is kept
        """Return the error instead of the answer."""
        body = self.body
        if body is None:
            body = error_body(f"status {self.code} was asked for", code=self.code)
        return Reply(self.code, body, dict(self.headers))


@dataclass(frozen=True, slots=True)
class Poison(Fault):
    """A 422 for every request in which ``word`` stands anywhere."""

    word: str = "poison"

    async def play(self, exchange: Exchange) -> None:
        """Refuse the request, or answer it."""
        is_poisoned = self.word.encode() in exchange.request.content
        await exchange.send(Status(422).spoil(exchange.reply) if is_poisoned else exchange.reply)


@dataclass(frozen=True, slots=True)
class TooLarge(Fault):
    """A 413 for every request with more than ``items`` texts or documents."""

    items: int = 32

    async def play(self, exchange: Exchange) -> None:
        """Refuse the request, or answer it."""
        body = exchange.request.body or {}
        found: list[Any] = next(
            (body[name] for name in _LISTS if isinstance(body.get(name), list)), []
        )
        reply = exchange.reply
        await exchange.send(Status(413).spoil(reply) if len(found) > self.items else reply)


@dataclass(frozen=True, slots=True)
class RetryAfter(Fault):
    """A 429 (or 503) with a ``Retry-After`` of ``seconds``, written as a date if ``as_date``."""

    seconds: float = 1.0
    code: int = 429
    as_date: bool = False

    def spoil(self, reply: Reply) -> Reply:
        """Return the refusal instead of the answer."""
        value = f"{self.seconds:g}"
        if self.as_date:
            value = formatdate(time.time() + self.seconds, usegmt=True)
        return Status(self.code, headers={"retry-after": value}).spoil(reply)


@dataclass(frozen=True, slots=True)
class Redirect(Fault):
    """A redirect to ``location``, which must never be followed: the key would go along."""

    location: str = "http://127.0.0.1:9/"
    code: int = 307

    def spoil(self, reply: Reply) -> Reply:  # noqa: ARG002 - nothing of the answer is kept
        """Return the redirect instead of the answer."""
        return Reply(self.code, headers={"location": self.location})


@dataclass(frozen=True, slots=True)
class ErrorInside200(Fault):
    """An error object inside a 200, as aggregators answer when the model behind them failed."""

    code: int | str = 502
    message: str = "Provider returned error"

    def spoil(self, reply: Reply) -> Reply:  # noqa: ARG002 - nothing of the answer is kept
        """Return the error object instead of the answer."""
        return Reply(payload=error_body(self.message, code=self.code))


@dataclass(frozen=True, slots=True)
class Garbage(Fault):
    """A 200 whose body is not JSON, though it says so."""

    body: str = "<html><body>upstream is on holiday</body></html>"

    def spoil(self, reply: Reply) -> Reply:  # noqa: ARG002 - nothing of the answer is kept
        """Return the text instead of the answer."""
        return Reply(payload=self.body.encode())


def error_body(
    message: str, *, code: int | str | None, kind: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return an error object in the shape that OpenAI's servers and their imitators share."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
