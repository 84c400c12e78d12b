"""Embedding any number of texts over a pool of targets, in order, in one vector space."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from failover_core.embedding.cache import Cache, cache_for
from failover_core.embedding.joint import Joint
from failover_core.embedding.progress import Count
from failover_core.embedding.protocol import Kind
from failover_core.embedding.rows import lists_of
from failover_core.embedding.space import CANARY, EmbeddingSpace, known_space
from failover_core.embedding.texts import checked_texts
from failover_core.embedding.verification import TOLERANCE, Vectors, Verification, Verify
from failover_core.embedding.windows import windows
from failover_core.embedding.work import Course, Work
from failover_core.embedding.worker import Worker
from failover_core.engine.call import Begin
from failover_core.engine.together import atogether, places_of, together
from failover_core.errors import ConfigurationError
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
        preferred: names the target that the caller of the moment wants tried first, if he does.

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
        preferred: Callable[[], str | None] = lambda: None,
    ) -> None:
        known = (getattr(target.client, "limits", None) for target in targets)
        self._limits = Limits(_checked_size(batch_size), known)
        self._spread = spread
        self._places = sum(map(places_of, targets))
        self.verification = Verification(known_space(space, dimension), verify, tolerance)
        self._spare = 1 if self.verification.embeds_canaries else 0  # so that it goes along
        self.cache = cache_for(self.verification, cache)
        self._worker = Worker(
            begin, preferred, targets[0].name, self._limits, self.verification, self.cache
        )
        joins_calls = all(getattr(target.client, "joins_calls", False) for target in targets)
        self._joint = Joint(self._ajoint, preferred, is_wanted=joins_calls)

    def resize(self, batch_size: int) -> None:
        """Change how many texts go into one request at the most.

        Raises:
            ConfigurationError: it is below 1.
        """
        self._limits.resize(_checked_size(batch_size))

    def embed(self, texts: Iterable[str], kind: Kind, count: Count | None = None) -> Vectors:
        """Return one vector per text, in the order of the texts: float32, ``(n, dimension)``.

        No texts give no request and a ``(0, 0)`` array. Of equal texts one is sent. A finished
        request is never sent again; one that is refused is halved until the text is found that
        nobody takes.

        Args:
            texts: any number of them.
            kind: what they are for.
            count: is told, in any thread, of each so many texts that have their vectors.

        Raises:
            ConfigurationError: ``texts`` is one string, or holds something else than strings.
            PartialEmbeddingError: some texts could not be embedded; it holds the other vectors.
            EmbeddingSpaceMismatchError: only targets of another space could have answered.
            AllTargetsFailedError: no target could embed any of the texts.
        """
        return self._done(checked_texts(texts), kind, count).vectors()

    async def aembed(self, texts: Iterable[str], kind: Kind, count: Count | None = None) -> Vectors:
        """Return what ``embed`` returns. A cancelled job sends nothing further.

        Calls of one text each that a loop's tasks make at the same moment share their requests.
        """
        texts = checked_texts(texts)
        if count is None and self._joint.takes(texts):
            return await self._joint.embed(texts[0], kind)
        return (await self._adone(self._work(texts, kind, count), kind)).vectors()

    def embed_lists(
        self, texts: Iterable[str], kind: Kind, count: Count | None = None
    ) -> list[list[float]]:
        """Return what ``embed`` returns, as lists: those that a wrapped object gave as they came.

        Their floats are the object's own, and nothing is spent on changing their form.
        """
        return self._done(checked_texts(texts), kind, count).lists()

    async def aembed_lists(
        self, texts: Iterable[str], kind: Kind, count: Count | None = None
    ) -> list[list[float]]:
        """Return what ``embed_lists`` returns."""
        texts = checked_texts(texts)
        if count is None and self._joint.takes(texts):
            return lists_of(await self._joint.embed(texts[0], kind))
        return (await self._adone(self._work(texts, kind, count), kind)).lists()

    def _done(self, texts: list[str], kind: Kind, count: Count | None) -> Work:
        work = self._work(texts, kind, count)
        if not self.verification.has_reference(kind):
            self._worker.serve(work, kind, at_most=1)
        if self.cache:
            work.fill(self.cache.known(self.verification, kind, work.unsent))
        together(partial(self._worker.serve, work, kind), work.at_once)
        return work

    async def _adone(self, work: Work, kind: Kind) -> Work:
        if not self.verification.has_reference(kind):
            await self._worker.aserve(work, kind, at_most=1)
        if self.cache:
            work.fill(await self.cache.aknown(self.verification, kind, work.unsent))
        await atogether(
            partial(self._worker.aserve, work, kind), min(work.course.places, work.requests)
        )
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
        wave = self._limits.items * (self._places if self._spread else 1)
        return max(wave, min(wave * _WAVES, _LARGEST_WINDOW))

    def _work(self, texts: list[str], kind: Kind, count: Count | None) -> Work:
        places = self._places if self._spread else 1
        course = Course(places, self._spread, self._first(kind), spare=self._spare)
        return Work(texts, self._limits, course, count)

    async def _ajoint(self, texts: list[str], kind: Kind) -> Vectors:
        """Embed texts of as many calls, which go where each of them would have gone."""
        share = -(-len(texts) // self._places)
        course = Course(self._places, first=self._first(kind), most=share, gives_up=False)
        return (await self._adone(Work(texts, self._limits, course), kind)).vectors()

    def _first(self, kind: Kind) -> int | None:
        # Nothing is read from a cache before a first answer has told whose vectors may be.
        is_to_tell = self.cache is not None and not self.verification.has_reference(kind)
        return 1 if is_to_tell else None


def _checked_size(batch_size: int) -> int:
    if batch_size < 1:
        message = f"batch_size is {batch_size}; it must be 1 or more"
        raise ConfigurationError(message)
    return batch_size
