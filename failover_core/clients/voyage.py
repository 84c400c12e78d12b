"""The protocol of Voyage AI's API."""

from __future__ import annotations

from dataclasses import replace

from failover_core.clients import answers
from failover_core.clients.descriptions import RequestLimits
from failover_core.clients.endpoints import EmbeddingEndpoint, RerankEndpoint
from failover_core.clients.wires import EmbeddingWire, RerankWire
from failover_core.embedding import Kind

_TRUNCATE = {wanted: {"truncation": wanted} for wanted in (True, False)}
_FLOATS = EmbeddingWire(
    answers.indexed_vectors,
    dimension="output_dimension",
    task="input_type",
    tasks={Kind.QUERY: "query", Kind.PASSAGE: "document"},
    truncate=_TRUNCATE,
)


class VoyageClient(EmbeddingEndpoint, RerankEndpoint):
    """A client of Voyage AI.

    Without ``truncate`` Voyage cuts texts that are too long.
    """

    default_url = "https://api.voyageai.com/v1"
    embedding_wire = _FLOATS
    packed_wire = replace(_FLOATS, fixed={"encoding_format": "base64"})
    # The smallest of its models' limits; voyage-4 takes 320,000 tokens, its lite model a million.
    limits = RequestLimits(items=1000, tokens=120_000)
    rerank_wire = RerankWire(top_n="top_k", truncate=_TRUNCATE, results="data")
    # The query counts once for each document.
    rerank_limits = RequestLimits(items=1000, tokens=600_000)
