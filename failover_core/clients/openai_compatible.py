"""The protocol of OpenAI's ``/embeddings``, and the ``/rerank`` that goes with it (vLLM)."""

from __future__ import annotations

from dataclasses import replace

from failover_core.clients import answers
from failover_core.clients.descriptions import Description, RequestLimits, whole, words
from failover_core.clients.dialogue import Dialogue, Post
from failover_core.clients.endpoints import EmbeddingEndpoint, HealthEndpoint, RerankEndpoint
from failover_core.clients.wires import EmbeddingWire, RerankWire

_FLOATS = EmbeddingWire(answers.indexed_vectors, fixed={"encoding_format": "float"})


class OpenAICompatibleClient(EmbeddingEndpoint, RerankEndpoint, HealthEndpoint):
    """A client of OpenAI, vLLM, llama.cpp, LM Studio, OpenRouter and their like.

    ``base_url`` is what the OpenAI SDK calls so; it normally ends in ``/v1``. The protocol knows
    no kinds of texts: a model that needs prefixes gets them by ``query_prefix`` and
    ``passage_prefix``.
    """

    embedding_wire = _FLOATS
    packed_wire = replace(_FLOATS, fixed={"encoding_format": "base64"})
    limits = RequestLimits(items=2048, tokens=300_000)
    rerank_wire = RerankWire()
    health = Post("/models")

    def _describe(self) -> Dialogue[Description]:
        listed = answers.items((yield Post("/models")), "data")
        found = next((model for model in listed if model.get("id") == self.model), {})
        return Description(
            self.model,
            capabilities=words(found.get("capabilities")),
            max_input=whole(found.get("max_model_len")),
        )
