"""The protocol of Jina AI's API."""

from __future__ import annotations

from dataclasses import replace

from failover_core.clients import answers
from failover_core.clients.descriptions import RequestLimits
from failover_core.clients.endpoints import EmbeddingEndpoint, RerankEndpoint
from failover_core.clients.wires import EmbeddingWire, RerankWire
from failover_core.embedding import Kind

_FLOATS = EmbeddingWire(
    answers.indexed_vectors,
    task="task",
    tasks={Kind.QUERY: "retrieval.query", Kind.PASSAGE: "retrieval.passage"},
    truncate={wanted: {"truncate": wanted} for wanted in (True, False)},
    fixed={"embedding_type": "float"},
)


class JinaClient(EmbeddingEndpoint, RerankEndpoint):
    """A client of Jina AI.

    Its models before ``jina-embeddings-v3`` have no tasks: give ``query_task=""`` and
    ``passage_task=""``. Those for code have others, such as ``nl2code.query``. Without
    ``truncate`` Jina refuses texts that are too long.
    """

    default_url = "https://api.jina.ai/v1"
    embedding_wire = _FLOATS
    packed_wire = replace(_FLOATS, fixed={"embedding_type": "base64"})
    # 2048 of the older models; jina-embeddings-v4 takes 512.
    limits = RequestLimits(items=512)
    rerank_wire = RerankWire(fixed={"return_documents": False})
    rerank_limits = RequestLimits(items=2048)
