"""The pool under ``FailoverEmbeddings``."""

from __future__ import annotations

from functools import partial
from typing import Any, Self

from failover_core.embedding import Embedder, EmbeddingSpace
from langchain_failover.choices import preferred
from langchain_failover.pool import Pool

OF_EMBEDDER = ("dimension", "space", "verify", "tolerance", "batch_size", "spread", "cache")
"""Settings of the class that are the embedder's."""


class EmbeddingPool(Pool):
    """A pool that remembers the space of its vectors."""

    embedder: Embedder

    def __new__(cls, targets: Any, name: str, settings: dict[str, Any]) -> Self:  # noqa: D102 - as in Pool
        pool = super().__new__(cls, targets, name, settings)
        given = {name: settings[name] for name in OF_EMBEDDER}
        wanted = partial(preferred, pool.router)
        pool.embedder = Embedder(pool.router.begin, pool, preferred=wanted, **given)
        return pool

    @property
    def space(self) -> EmbeddingSpace:
        """What is known of the space; a copy is told, or it could begin with a wrong target."""
        return self.embedder.verification.space

    @space.setter
    def space(self, space: EmbeddingSpace) -> None:
        self.embedder.verification.space = space

    def __reduce__(self) -> tuple[Any, ...]:
        return *super().__reduce__(), self.space

    def __setstate__(self, space: EmbeddingSpace) -> None:
        self.space = space
