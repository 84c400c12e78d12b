"""What the reranking side of the library asks of a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One document's place in the answer of a reranker.

    Attributes:
        index: position of the document in the request, from 0.
        score: relevance to the query, higher is better; its scale is the model's own.
    """

    index: int
    score: float


@runtime_checkable
class RerankClient(Protocol):
    """A client of one server that scores documents against a query."""

    model: str | None

    def rerank(
        self, query: str, documents: Sequence[str], top_n: int | None = None
    ) -> list[RankedDocument]:
        """Return the ``top_n`` best documents (None: all of them), the best one first."""
        ...

    async def arerank(
        self, query: str, documents: Sequence[str], top_n: int | None = None
    ) -> list[RankedDocument]:
        """Return what ``rerank`` returns."""
        ...
