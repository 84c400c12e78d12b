"""What the reranking side of the library asks of a client, and of who wants documents ranked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One document's place in the answer of a reranker.

    Attributes:
        index: position of the document in the request, from 0.
        score: relevance to the query, higher is better; its scale is the model's own.
        is_scored: whether the reranker gave the score. Else it only tells of the order (1, 1/2,
            1/3, …) and means nothing beside a threshold or another answer.
    """

    index: int
    score: float
    is_scored: bool = field(default=True, kw_only=True)


def by_order(places: Sequence[int]) -> list[RankedDocument]:
    """Return the documents of an answer that only has an order, the best one first."""
    return [
        RankedDocument(index, 1 / place, is_scored=False)
        for place, index in enumerate(places, start=1)
    ]


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


class RankRequest(Protocol):
    """Documents that are to be ranked, and how to ask a target's client for it."""

    @property
    def query(self) -> str:
        """What they are ranked for."""
        ...

    @property
    def texts(self) -> Sequence[str]:
        """Their texts; asked for where a request is limited by their size."""
        ...

    def __len__(self) -> int:
        """Return their number."""
        ...

    def ask(self, client: Any, piece: range) -> Sequence[RankedDocument]:
        """Have the documents of some neighbouring places ranked, counted from the first of them."""
        ...

    async def aask(self, client: Any, piece: range) -> Sequence[RankedDocument]:
        """Do what ``ask`` does."""
        ...
