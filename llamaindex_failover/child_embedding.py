"""A LlamaIndex embedding as a client of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding

from failover_core.children import UnfitError
from failover_core.embedding import EmbeddingClient, Kind
from failover_core.targets import model_of

_WANTED = (
    "give an embedding of LlamaIndex (a subclass of BaseEmbedding), a client of this library "
    "such as InfinityClient, or a URL"
)


class ChildEmbedding:
    """A LlamaIndex embedding as a client of a pool.

    It uses the methods behind the public ones, which would emit the events a second time.
    """

    embeds_one_by_one = True

    def __init__(self, child: BaseEmbedding) -> None:
        self.child = child
        self.model = model_of(child)

    def embed(self, texts: Sequence[str], kind: Kind) -> list[Embedding]:
        """Return one vector per text."""
        child = self.child
        if child.rate_limiter is not None:
            child.rate_limiter.acquire()
        if kind is Kind.QUERY:
            return [child._get_query_embedding(text) for text in texts]
        return child._get_text_embeddings(list(texts))

    async def aembed(self, texts: Sequence[str], kind: Kind) -> list[Embedding]:
        """Return one vector per text."""
        child = self.child
        if child.rate_limiter is not None:
            await child.rate_limiter.async_acquire()
        if kind is Kind.QUERY:
            return [await child._aget_query_embedding(text) for text in texts]
        return await child._aget_text_embeddings(list(texts))


def adapted(child: Any) -> Any:
    """Return the client that serves for an object.

    Raises:
        UnfitError: it is no embedding.
    """
    if isinstance(child, BaseEmbedding):
        return ChildEmbedding(child)
    if isinstance(child, EmbeddingClient):
        return child
    raise UnfitError(_WANTED)
