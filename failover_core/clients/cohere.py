"""The protocol of Cohere's API, version 2."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from failover_core.clients import answers
from failover_core.clients.descriptions import Description, RequestLimits, whole, words
from failover_core.clients.dialogue import Dialogue, Post
from failover_core.clients.endpoints import EmbeddingEndpoint, HealthEndpoint, RerankEndpoint
from failover_core.clients.wires import EmbeddingWire, RerankWire
from failover_core.embedding import Kind
from failover_core.errors import MalformedResponseError


def _vectors(document: Any, count: int) -> list[Any]:
    by_type = answers.field_of(document, "embeddings")
    by_type = by_type if isinstance(by_type, dict) else {}
    return answers.counted(by_type.get("base64") or by_type.get("float"), count)


_FLOATS = EmbeddingWire(
    _vectors,
    path="/v2/embed",
    texts="texts",
    dimension="output_dimension",
    task="input_type",
    tasks={Kind.QUERY: "search_query", Kind.PASSAGE: "search_document"},
    truncate={True: {"truncate": "END"}, False: {"truncate": "NONE"}},
    fixed={"embedding_types": ["float"]},
)


class CohereClient(EmbeddingEndpoint, RerankEndpoint, HealthEndpoint):
    """A client of Cohere, or of a server that speaks its version 2 (vLLM).

    Without ``truncate`` Cohere cuts texts that are too long at their end.
    """

    default_url = "https://api.cohere.com"
    embedding_wire = _FLOATS
    packed_wire = replace(_FLOATS, fixed={"embedding_types": ["base64"]})
    limits = RequestLimits(items=96)
    rerank_wire = RerankWire(path="/v2/rerank")
    rerank_limits = RequestLimits(items=1000)
    health = Post("/v1/models")

    def _describe(self) -> Dialogue[Description]:
        found = yield Post(f"/v1/models/{quote(self.model, safe='')}")
        if not isinstance(found, dict):
            message = "the answer of /v1/models is no object"
            raise MalformedResponseError(message)
        return Description(
            self.model,
            capabilities=words(found.get("endpoints")),
            max_input=whole(found.get("context_length")),
        )
