"""What becomes of the texts of a call that ``BaseEmbedding`` cuts into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import Embedding

from failover_core import PartialEmbeddingError, UnavailableError
from failover_core.embedding.texts import checked_texts

_Keep = Callable[[list[Embedding]], list[Embedding]]


class Outcomes:
    """The vectors and errors of one call's texts.

    ``BaseEmbedding`` raises the error of one batch, which knows its own texts only, and forgets
    the vectors of the others.

    Args:
        pool: that was called; what becomes of a batch in a pool inside it is its to judge.
    """

    def __init__(self, pool: object) -> None:
        self.pool = pool
        self._vectors: dict[str, Embedding] = {}
        self._errors: dict[str, Exception] = {}

    @contextmanager
    def batch(self, texts: Sequence[str]) -> Iterator[_Keep]:
        """Take note of what becomes of a batch; what is yielded keeps its vectors."""
        try:
            yield partial(self._keep, texts)
        except PartialEmbeddingError as error:
            self._vectors |= {texts[place]: one for place, one in error.results.items()}
            self._errors |= {texts[place]: one for place, one in error.errors.items()}
            raise
        except Exception as error:
            self._errors |= dict.fromkeys(texts, error)
            raise

    def of(self, texts: Sequence[str]) -> PartialEmbeddingError | None:
        """Return the error of a call, if a batch has failed and another text has its vector."""
        if not (self._errors and self._vectors):
            return None
        unasked = UnavailableError("it was not asked for: the call ended before its turn")
        results: dict[int, Any] = {}
        errors: dict[int, Exception] = {}
        for index, text in enumerate(texts):
            if text in self._vectors:
                results[index] = np.asarray(self._vectors[text], np.float32)
            else:
                errors[index] = self._errors.get(text, unasked)
        return PartialEmbeddingError(results, errors)

    def _keep(self, texts: Sequence[str], vectors: list[Embedding]) -> list[Embedding]:
        self._vectors |= zip(texts, vectors, strict=True)
        return vectors


_current: ContextVar[Outcomes | None] = ContextVar("failover_outcomes", default=None)


@contextmanager
def one_call(pool: object, texts: Any) -> Iterator[list[str]]:
    """Let an error tell of all texts of a call of a pool, not of those of one batch.

    Raises:
        ConfigurationError: they are no texts.
        PartialEmbeddingError: instead of the error of a batch, if other texts have vectors.
    """
    listed, outcomes = checked_texts(texts), Outcomes(pool)
    token = _current.set(outcomes)
    try:
        yield listed
    except Exception as error:
        if (of_all := outcomes.of(listed)) is None:
            raise
        raise of_all from of_all.__cause__ or error
    finally:
        _current.reset(token)


@contextmanager
def one_batch(pool: object, texts: Sequence[str]) -> Iterator[_Keep]:
    """Take note, for the call of a pool, of what becomes of one of its batches."""
    outcomes = _current.get()
    if outcomes is None or outcomes.pool is not pool:
        outcomes = Outcomes(pool)
    with outcomes.batch(texts) as keep:
        yield keep
