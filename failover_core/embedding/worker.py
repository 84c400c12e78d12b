"""Working off a job: each request is a call of its own, whose answer is verified and kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from failover_core.embedding.cache import VectorCache
from failover_core.embedding.protocol import Kind
from failover_core.embedding.rows import Rows
from failover_core.embedding.space import CANARY
from failover_core.embedding.verification import Verification, connections_of
from failover_core.embedding.work import Piece, Work, is_about_the_texts
from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Begin, Call
from failover_core.engine.drivers import arun, run
from failover_core.engine.needs import CallOptions
from failover_core.engine.usage import metered
from failover_core.errors import (
    AllTargetsFailedError,
    EmbeddingSpaceMismatchError,
    SpaceMismatchError,
)
from failover_core.splitting import Limits

T = TypeVar("T")

Asking = Generator[tuple[Any, Sequence[str], Kind], Any, T]
"""Yields who is to embed what, as which kind of text, and is sent the answer."""


@dataclass(frozen=True, slots=True)
class Worker:
    """Works off jobs, any number of them at once.

    Attributes:
        begin: begins a call over the targets.
        preferred: names the target that the caller wants tried first, or None.
        first: name of the target that the reference is asked of.
        limits: how much a target takes in one request.
        verification: of the answers.
        cache: keeps them.
    """

    begin: Begin
    preferred: Callable[[], str | None]
    first: str | None
    limits: Limits
    verification: Verification
    cache: VectorCache | None

    def serve(self, work: Work, kind: Kind, at_most: int | None = None) -> None:
        """Work off what there is, or so many pieces of it."""
        for piece in islice(iter(work.take, None), at_most):
            call = self._call(work, kind)
            with _in_hand(work, piece, call):
                vectors = run(call, partial(self._send, call, piece.texts, kind))
                work.keep(piece, vectors)
                if self.cache:
                    self.cache.keep(self.verification, kind, piece.texts, vectors)

    async def aserve(self, work: Work, kind: Kind, at_most: int | None = None) -> None:
        """Do what ``serve`` does."""
        for piece in islice(iter(work.take, None), at_most):
            call = self._call(work, kind)
            with _in_hand(work, piece, call):
                vectors = await arun(call, partial(self._asend, call, piece.texts, kind))
                work.keep(piece, vectors)
                if self.cache:
                    await self.cache.akeep(self.verification, kind, piece.texts, vectors)

    def _call(self, work: Work, kind: Kind) -> Call:
        options = CallOptions()
        if not self.verification.has_reference(kind):
            options["preferred_target"] = self.first
        elif preferred := self.preferred():
            options["preferred_target"] = preferred
        elif work.course.spread and work.requests > 1:
            options["spread"] = True
        return self.begin(**options)

    def _send(self, call: Call, texts: Sequence[str], kind: Kind, attempt: Attempt) -> Rows:
        with closing(self._exchange(call, texts, kind, attempt)) as exchange:
            proceed = partial(next, exchange)
            while True:
                try:
                    client, texts, kind = proceed()
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
                try:
                    proceed = partial(exchange.send, client.embed(texts, kind))
                except Exception as error:  # noqa: BLE001 - the exchange knows what follows
                    proceed = partial(exchange.throw, error)

    async def _asend(self, call: Call, texts: Sequence[str], kind: Kind, attempt: Attempt) -> Rows:
        with closing(self._exchange(call, texts, kind, attempt)) as exchange:
            proceed = partial(next, exchange)
            while True:
                try:
                    client, texts, kind = proceed()
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]
                try:
                    proceed = partial(exchange.send, await client.aembed(texts, kind))
                except Exception as error:  # noqa: BLE001 - the exchange knows what follows
                    proceed = partial(exchange.throw, error)

    def _exchange(
        self, call: Call, texts: Sequence[str], kind: Kind, attempt: Attempt
    ) -> Asking[Rows]:
        """Return the vectors of texts, and verify that their target is of the pool's space."""
        verification, client = self.verification, attempt.client
        uncached = _uncached(client)
        is_due = verification.is_due(attempt, kind)
        try:
            if is_due and uncached is client and self.limits.have_room_beside(len(texts)):
                try:
                    return (yield from self._with_canary(call, texts, kind, attempt))
                except Exception as error:
                    # Without it, they may be of the size that a request may have.
                    if not is_about_the_texts(error):
                        raise
            if is_due:
                yield from self._canary(call, uncached, kind, attempt)
            connections = connections_of(client)
            vectors = verification.checked((yield client, texts, kind), texts)
            if connections_of(client) != connections and verification.verify == "canary":
                yield from self._canary(call, uncached, kind, attempt)
            verification.answered(attempt, kind, call.clock.now())
        except BaseException:
            verification.failed(attempt)
            raise
        return vectors

    def _with_canary(
        self, call: Call, texts: Sequence[str], kind: Kind, attempt: Attempt
    ) -> Asking[Rows]:
        """Have texts and the canary embedded in one request, and compare it."""
        sent, connections = [*texts, CANARY], connections_of(attempt.client)
        vectors = self.verification.checked((yield attempt.client, sent, kind), sent)
        yield from self._other_kinds(call, kind, attempt)
        self.verification.check(attempt, kind, vectors[-1])
        self.verification.verified(attempt, kind, call.clock.now(), connections)
        return vectors[:-1]

    def _canary(self, call: Call, client: Any, kind: Kind, attempt: Attempt) -> Asking[None]:
        """Have the canary embedded by itself, and compare it."""
        connections = connections_of(attempt.client)
        answer = yield client, [CANARY], kind
        vectors = self.verification.checked(answer, [CANARY])
        yield from self._other_kinds(call, kind, attempt)
        self.verification.check(attempt, kind, vectors[0])
        self.verification.verified(attempt, kind, call.clock.now(), connections)

    def _other_kinds(self, call: Call, kind: Kind, attempt: Attempt) -> Asking[None]:
        """Verify what is to give the reference of a kind: other texts are in the space already."""
        if not self.verification.has_reference(kind):
            client = _uncached(attempt.client)
            for known in list(self.verification.space.fingerprint):
                yield from self._canary(call, client, known, attempt)


def _uncached(client: Any) -> Any:
    # An object that caches would remember the canary of a model that is gone.
    return getattr(client, "uncached", client)


@contextmanager
def _in_hand(work: Work, piece: Piece, call: Call) -> Iterator[None]:
    """Charge what a piece costs; if it fails, leave it to the work to say what follows."""
    with metered() as usage:
        try:
            yield
        except BaseException as error:
            work.failed(piece, _named(error))
            if not isinstance(error, Exception):
                raise
        else:
            if tokens := usage.tokens:
                call.used(tokens, 0)


def _named(error: BaseException) -> BaseException:
    """Return the error of a call; one that tells of another space by a name of its own."""
    if not isinstance(error, AllTargetsFailedError):
        return error
    if not any(isinstance(one, SpaceMismatchError) for one in error.exceptions):
        return error
    return EmbeddingSpaceMismatchError(
        error.message, error.exceptions, error_class=error.error_class
    )
