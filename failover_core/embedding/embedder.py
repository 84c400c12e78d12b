"""Embedding any number of texts over a pool of targets, in order, in one vector space."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from failover_core.embedding.cache import Cache, cache_for
from failover_core.embedding.protocol import Kind
from failover_core.embedding.rows import Rows
from failover_core.embedding.space import CANARY, EmbeddingSpace, known_space
from failover_core.embedding.texts import checked_texts
from failover_core.embedding.verification import (
    TOLERANCE,
    Vectors,
    Verification,
    Verify,
    repeats_of,
)
from failover_core.embedding.windows import windows
from failover_core.embedding.work import Piece, Work
from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Begin, Call
from failover_core.engine.drivers import arun, run
from failover_core.engine.needs import CallOptions
from failover_core.engine.together import atogether, places_of, together
from failover_core.engine.usage import metered
from failover_core.errors import (
    AllTargetsFailedError,
    ConfigurationError,
    EmbeddingSpaceMismatchError,
    SpaceMismatchError,
)
from failover_core.splitting import Limits
from failover_core.targets import Target

_WAVES = 4
_LARGEST_WINDOW = 4096
"""Requests that each place of a job gets before ``iter_embed`` hands out their vectors, but no
more texts than that, if one wave has fewer: an array of 1024 dimensions then takes 16 MiB."""


class Embedder:
    r"""Embeds texts with whichever targets can, each request by itself.

    All vectors are of one space: that of ``space``, else that of the first target in order that
    is alive. An answer of another dimension, or (see ``Verify``) of a target that embeds the
    canary otherwise, is never used; its target is ejected with a ``space_mismatch`` event.

    Args:
        begin: begins a call over the targets.
        targets: of the pool, in order; their clients are ``EmbeddingClient``\ s.
        space: a saved one, or the path of its file.
        dimension: of the vectors, if it is known.
        verify: how targets are verified; see ``Verify``.
        tolerance: largest ``distance`` from the reference; 0.02 admits replicas quantised to
            8 bits.
        batch_size: texts of one request at the most.
        spread: whether the requests of a job go to all targets at once, as each one frees up;
            else one after the other, in the order of the strategy.
        cache: keeps vectors of the space, so that they need not be asked for again.

    Raises:
        ConfigurationError: a setting is out of range.
    """

    def __init__(  # noqa: PLR0913 - independent settings, each by its name
        self,
        begin: Begin,
        targets: Sequence[Target],
        *,
        space: EmbeddingSpace | str | Path | None = None,
        dimension: int | None = None,
        verify: Verify = "canary",
        tolerance: float = TOLERANCE,
        batch_size: int = 256,
        spread: bool = True,
        cache: Cache = None,
    ) -> None:
        if batch_size < 1:
            message = f"batch_size is {batch_size}; it must be 1 or more"
            raise ConfigurationError(message)
        self._begin_call = begin
        self._first = targets[0].name
        self._limits = Limits(
            batch_size, (getattr(target.client, "limits", None) for target in targets)
        )
        self._spread = spread
        self._places = sum(map(places_of, targets)) if spread else 1
        self.verification = Verification(known_space(space, dimension), verify, tolerance)
        self.cache = cache_for(self.verification, cache)

    def embed(self, texts: Iterable[str], kind: Kind) -> Vectors:
        """Return one vector per text, in the order of the texts: float32, ``(n, dimension)``.

        No texts give no request and a ``(0, 0)`` array. Of equal texts one is sent. A finished
        request is never sent again; one that is refused is halved until the text is found that
        nobody takes.

        Raises:
            ConfigurationError: ``texts`` is one string, or holds something else than strings.
            PartialEmbeddingError: some texts could not be embedded; it holds the other vectors.
            EmbeddingSpaceMismatchError: only targets of another space could have answered.
            AllTargetsFailedError: no target could embed any of the texts.
        """
        return self._done(texts, kind).vectors()

    async def aembed(self, texts: Iterable[str], kind: Kind) -> Vectors:
        """Return what ``embed`` returns. A cancelled job sends nothing further."""
        return (await self._adone(texts, kind)).vectors()

    def embed_lists(self, texts: Iterable[str], kind: Kind) -> list[list[float]]:
        """Return what ``embed`` returns, as lists: those that a wrapped object gave as they came.

        Their floats are the object's own, and nothing is spent on changing their form.
        """
        return self._done(texts, kind).lists()

    async def aembed_lists(self, texts: Iterable[str], kind: Kind) -> list[list[float]]:
        """Return what ``embed_lists`` returns."""
        return (await self._adone(texts, kind)).lists()

    def _done(self, texts: Iterable[str], kind: Kind) -> Work:
        work = self._work(texts, kind)
        if not self.verification.has_reference(kind):
            self._serve(work, kind, at_most=1)
        if self.cache:
            work.fill(self.cache.known(self.verification, kind, work.unsent))
        together(partial(self._serve, work, kind), min(self._places, work.requests))
        return work

    async def _adone(self, texts: Iterable[str], kind: Kind) -> Work:
        work = self._work(texts, kind)
        if not self.verification.has_reference(kind):
            await self._aserve(work, kind, at_most=1)
        if self.cache:
            work.fill(await self.cache.aknown(self.verification, kind, work.unsent))
        await atogether(partial(self._aserve, work, kind), min(self._places, work.requests))
        return work

    def iter_embed(self, texts: Iterable[str], kind: Kind) -> Iterator[Vectors]:
        """Yield the vectors of ever so many texts, in order and some thousands at a time.

        Of the texts and of the vectors no more are held than one array has. The arrays have the
        shape ``(n, dimension)``, with any ``n``.

        Raises:
            PartialEmbeddingError: some of the next texts could not be embedded; the indices in
                it count from the first text of all.
            AllTargetsFailedError: as with ``embed``.
        """
        for window in windows(texts, self._window()):
            with window.counted():
                vectors = self.embed(window.texts, kind)
            yield vectors

    async def aiter_embed(self, texts: Iterable[str], kind: Kind) -> AsyncIterator[Vectors]:
        """Yield what ``iter_embed`` yields."""
        for window in windows(texts, self._window()):
            with window.counted():
                vectors = await self.aembed(window.texts, kind)
            yield vectors

    def space(self) -> EmbeddingSpace:
        """Return the pool's vector space, to be saved beside an index.

        Where targets are verified by the canary, what is not known yet is asked for.

        Raises:
            AllTargetsFailedError: no target could answer.
        """
        for kind in self.verification.unknown_kinds():
            self.embed([CANARY], kind)
        return self.verification.space

    async def aspace(self) -> EmbeddingSpace:
        """Return what ``space`` returns."""
        for kind in self.verification.unknown_kinds():
            await self.aembed([CANARY], kind)
        return self.verification.space

    def _window(self) -> int:
        wave = self._limits.items * self._places
        return max(wave, min(wave * _WAVES, _LARGEST_WINDOW))

    def _work(self, texts: Iterable[str], kind: Kind) -> Work:
        # Nothing is read from a cache before a first answer has told whose vectors may be.
        is_to_tell = self.cache is not None and not self.verification.has_reference(kind)
        return Work(
            checked_texts(texts),
            self._limits,
            first=1 if is_to_tell else None,
            spare=1 if self.verification.embeds_canaries else 0,  # so that it goes along
        )

    def _serve(self, work: Work, kind: Kind, at_most: int | None = None) -> None:
        """Work off what there is, or so many pieces of it."""
        for piece in islice(iter(work.take, None), at_most):
            call = self._begin(work, kind)
            with _in_hand(work, piece, call):
                vectors = run(call, partial(self._send, call, piece, kind))
                work.keep(piece, vectors)
                if self.cache:
                    self.cache.keep(self.verification, kind, piece.texts, vectors)

    async def _aserve(self, work: Work, kind: Kind, at_most: int | None = None) -> None:
        """Do what ``_serve`` does."""
        for piece in islice(iter(work.take, None), at_most):
            call = self._begin(work, kind)
            with _in_hand(work, piece, call):
                vectors = await arun(call, partial(self._asend, call, piece, kind))
                work.keep(piece, vectors)
                if self.cache:
                    await self.cache.akeep(self.verification, kind, piece.texts, vectors)

    def _begin(self, work: Work, kind: Kind) -> Call:
        options = CallOptions()
        if not self.verification.has_reference(kind):
            options["preferred_target"] = self._first
        elif self._spread and work.requests > 1:
            options["spread"] = True
        return self._begin_call(**options)

    def _send(self, call: Call, piece: Piece, kind: Kind, attempt: Attempt) -> Rows:
        with closing(self._exchange(call, piece.texts, kind, attempt)) as exchange:
            client, texts = next(exchange)
            while True:
                try:
                    client, texts = exchange.send(client.embed(texts, kind))
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]

    async def _asend(self, call: Call, piece: Piece, kind: Kind, attempt: Attempt) -> Rows:
        with closing(self._exchange(call, piece.texts, kind, attempt)) as exchange:
            client, texts = next(exchange)
            while True:
                try:
                    client, texts = exchange.send(await client.aembed(texts, kind))
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]

    def _exchange(
        self, call: Call, texts: Sequence[str], kind: Kind, attempt: Attempt
    ) -> Generator[tuple[Any, Sequence[str]], Any, Rows]:
        """Yield who is to embed what, and be sent the answers; return the texts' vectors."""
        verification, client, count = self.verification, attempt.client, len(texts)
        # An object that caches would remember the canary of a model that is gone.
        uncached = getattr(client, "uncached", client)
        is_due = verification.is_due(attempt, kind)
        is_apart = uncached is not client or count >= self._limits.items
        is_verified, repeats = False, repeats_of(client)
        try:
            if is_due and is_apart:
                answer = yield uncached, [CANARY]
                verification.check(attempt, kind, verification.checked(answer, [CANARY])[0])
            elif is_due:
                texts = [*texts, CANARY]
            vectors = verification.checked((yield client, texts), texts)
            if len(texts) > count:
                verification.check(attempt, kind, vectors[count])
            elif repeats_of(client) != repeats and verification.verify == "canary":
                answer = yield uncached, [CANARY]
                verification.check(attempt, kind, verification.checked(answer, [CANARY])[0])
            is_verified = True
        finally:
            if is_verified:
                verification.answered(attempt, kind, call.clock.now())
            else:
                verification.failed(attempt)
        return vectors[:count]


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
