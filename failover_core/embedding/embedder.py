"""Embedding any number of texts over a pool of targets, in order, in one vector space."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from failover_core.classify import classify
from failover_core.embedding.protocol import Kind
from failover_core.embedding.texts import checked_texts
from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, run
from failover_core.errors import (
    AllTargetsFailedError,
    ConfigurationError,
    ErrorClass,
    MalformedResponseError,
    SpaceMismatchError,
)

_DIMENSION = "dimension"

Vectors = NDArray[np.floating[Any]]


class Embedder:
    r"""Embeds texts with whichever target can, each batch by itself.

    The dimension of the pool is the declared one, or that of the first answer. A target that
    answers with another dimension has another model: its answer is never used. (Two models of
    one dimension cannot be told apart here; the models that the targets declare are compared
    when a pool is built.)

    Args:
        begin: begins a call; the clients of its targets are ``EmbeddingClient``\\ s.
        dimension: of the pool's vectors, if it is known beforehand.
        batch_size: texts per call at the most.

    Raises:
        ConfigurationError: a setting is out of range.
    """

    def __init__(
        self, begin: Callable[[], Call], *, dimension: int | None = None, batch_size: int = 256
    ) -> None:
        for name, value in (("dimension", dimension), ("batch_size", batch_size)):
            if value is not None and value < 1:
                message = f"{name} is {value}; it must be 1 or more"
                raise ConfigurationError(message)
        self._begin = begin
        self._batch_size = batch_size
        self._space = _Dimension(dimension)

    def embed(self, texts: Iterable[str], kind: Kind) -> Vectors:
        """Return one vector per text, in the order of the texts: shape ``(n, dimension)``.

        No texts give no request and a ``(0, 0)`` array. A finished batch is never sent again. A
        batch that a server finds too large is halved.

        Raises:
            ConfigurationError: ``texts`` is one string, or holds something else than strings.
            AllTargetsFailedError: no target could embed one of the batches.
        """
        work = _Batches(texts, self._batch_size)
        while batch := work.next():
            try:
                vectors = run(self._begin(), partial(self._send, batch, kind))
            except Exception as error:  # noqa: BLE001 - raised again unless halving may help
                work.halve(error)
            else:
                work.keep(vectors)
        return work.vectors()

    async def aembed(self, texts: Iterable[str], kind: Kind) -> Vectors:
        """Return what ``embed`` returns."""
        work = _Batches(texts, self._batch_size)
        while batch := work.next():
            try:
                vectors = await arun(self._begin(), partial(self._asend, batch, kind))
            except Exception as error:  # noqa: BLE001 - raised again unless halving may help
                work.halve(error)
            else:
                work.keep(vectors)
        return work.vectors()

    def _send(self, batch: Sequence[str], kind: Kind, attempt: Attempt) -> Vectors:
        return self._space.checked(attempt.client.embed(batch, kind), len(batch))

    async def _asend(self, batch: Sequence[str], kind: Kind, attempt: Attempt) -> Vectors:
        return self._space.checked(await attempt.client.aembed(batch, kind), len(batch))


class _Dimension:
    """The dimension that all vectors of a pool have, once one is known."""

    def __init__(self, declared: int | None) -> None:
        self._known = {} if declared is None else {_DIMENSION: declared}

    def checked(self, answer: Any, count: int) -> Vectors:
        """Return an answer as an array; raise if it is not ``count`` vectors of this space."""
        try:
            vectors = np.asarray(answer)
        except ValueError:  # what numpy says to rows of different lengths
            vectors = np.empty(0)
        if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.number):  # noqa: PLR2004
            message = "the vectors are not numbers of one dimension"
            raise MalformedResponseError(message)
        found, dimension = vectors.shape
        if found != count or not dimension:
            message = f"{found} vectors of dimension {dimension} for {count} texts"
            raise MalformedResponseError(message)
        if not np.isfinite(vectors).all():
            message = "a vector has a component that is not finite"
            raise MalformedResponseError(message)
        # setdefault is atomic: of two first answers at once, one decides for both.
        known = self._known.setdefault(_DIMENSION, dimension)
        if dimension != known:
            message = (
                f"vectors of dimension {dimension} in a pool of dimension {known}: "
                "this target serves another model"
            )
            raise SpaceMismatchError(message)
        return vectors


class _Batches:
    """The batches still to do and the vectors already there. Sends nothing itself."""

    def __init__(self, texts: Iterable[str], size: int) -> None:
        self._texts = checked_texts(texts)
        count = len(self._texts)
        starts = range(0, count, size)
        self._left = deque((start, min(start + size, count)) for start in starts)
        self._done: list[Vectors] = []

    def next(self) -> Sequence[str] | None:
        """Return the next batch of texts, or None when all are done."""
        if not self._left:
            return None
        start, end = self._left[0]
        return self._texts[start:end]

    def keep(self, vectors: Vectors) -> None:
        """Take the vectors of the batch that ``next`` gave."""
        self._left.popleft()
        self._done.append(vectors)

    def halve(self, error: Exception) -> None:
        """Put two halves in the place of the batch, or raise the error if that cannot help."""
        start, end = self._left.popleft()
        if end - start == 1 or not _is_too_large(error):
            raise error
        middle = (start + end) // 2
        self._left.extendleft([(middle, end), (start, middle)])

    def vectors(self) -> Vectors:
        """Return all vectors, in the order of the texts."""
        return np.concatenate(self._done) if self._done else np.empty((0, 0), np.float32)


def _is_too_large(error: Exception) -> bool:
    """Tell whether a target found the batch too large, others having failed otherwise or not."""
    errors = error.exceptions if isinstance(error, AllTargetsFailedError) else (error,)
    classes = (classify(each, wall=0.0).error_class for each in errors)
    return ErrorClass.INPUT_TOO_LARGE in classes
