"""The protocol of Hugging Face's Text Embeddings Inference."""

from __future__ import annotations

from failover_core.clients import answers
from failover_core.clients.descriptions import Description, RequestLimits, whole
from failover_core.clients.dialogue import Dialogue, Post
from failover_core.clients.endpoints import EmbeddingEndpoint, HealthEndpoint, RerankEndpoint
from failover_core.clients.wires import EmbeddingWire, RerankWire
from failover_core.errors import MalformedResponseError

_TRUNCATE = {wanted: {"truncate": wanted} for wanted in (True, False)}
_CAPABILITIES = {"embedding": "embed", "reranker": "rerank"}


class TEIClient(EmbeddingEndpoint, RerankEndpoint, HealthEndpoint):
    """A client of a Text Embeddings Inference server, which has one model.

    Vectors come from ``/v1/embeddings``, which has base64, unless a setting needs ``/embed``:
    ``truncate``, or a ``query_task`` or ``passage_task``, which name one of the model's prompts
    (``prompt_name``).
    """

    embedding_wire = EmbeddingWire(
        answers.listed_vectors,
        path="/embed",
        model=None,
        texts="inputs",
        task="prompt_name",
        truncate=_TRUNCATE,
    )
    packed_wire = EmbeddingWire(
        answers.indexed_vectors, path="/v1/embeddings", fixed={"encoding_format": "base64"}
    )
    # The defaults of its --max-client-batch-size and --payload-limit.
    limits = RequestLimits(items=32, bytes=2_000_000)
    rerank_wire = RerankWire(
        model=None, documents="texts", top_n=None, truncate=_TRUNCATE, results=None, score="score"
    )
    rerank_limits = limits
    health = Post("/health", reads_json=False)

    def _describe(self) -> Dialogue[Description]:
        info = yield Post("/info")
        if not isinstance(info, dict):
            message = "the answer of /info is no object"
            raise MalformedResponseError(message)
        name, kind = info.get("model_id"), info.get("model_type")
        kinds = kind if isinstance(kind, dict) else ()
        return Description(
            name if isinstance(name, str) else self.model,
            capabilities=frozenset(_CAPABILITIES[k] for k in kinds if k in _CAPABILITIES),
            max_input=whole(info.get("max_input_length")),
            max_items=whole(info.get("max_client_batch_size")),
        )
