"""Queries: one of its own for each attempt."""

from __future__ import annotations

from dataclasses import replace

from llama_index.core.schema import QueryBundle


def fresh_query(query: QueryBundle) -> QueryBundle:
    """Return a query for one attempt: retrievers write their vector into it.

    The copy has no vector, which belongs to whichever model made it; but a query that is nothing
    else keeps it.
    """
    texts = query.custom_embedding_strs
    return replace(
        query,
        custom_embedding_strs=None if texts is None else list(texts),
        embedding=None if query.embedding_strs or query.image_path else query.embedding,
    )
