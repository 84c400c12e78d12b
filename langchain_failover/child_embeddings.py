"""A LangChain ``Embeddings`` object as a client of a pool."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from failover_core.embedding import Kind
from failover_core.targets import model_of


class ChildEmbeddings:
    """A LangChain ``Embeddings`` object as a client of a pool."""

    embeds_one_by_one = True

    def __init__(self, child: Embeddings) -> None:
        self.child = child
        self.model = model_of(child)
        if (behind := getattr(child, "underlying_embeddings", None)) is not None:
            self.uncached = type(self)(behind)

    def embed(self, texts: Sequence[str], kind: Kind) -> list[list[float]]:
        """Return one vector per text."""
        if kind is Kind.QUERY:
            return [self.child.embed_query(text) for text in texts]
        return self.child.embed_documents(list(texts))

    async def aembed(self, texts: Sequence[str], kind: Kind) -> list[list[float]]:
        """Return one vector per text."""
        if kind is Kind.QUERY:
            return [await self.child.aembed_query(text) for text in texts]
        return await self.child.aembed_documents(list(texts))
