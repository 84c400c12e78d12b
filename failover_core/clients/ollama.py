"""The protocol of Ollama, which embeds and does not rerank."""

from __future__ import annotations

from functools import partial

from failover_core.clients import answers
from failover_core.clients.descriptions import Description, whole, words
from failover_core.clients.dialogue import Dialogue, Post
from failover_core.clients.endpoints import EmbeddingEndpoint, HealthEndpoint
from failover_core.clients.wires import EmbeddingWire

_CAPABILITIES = {"embedding": "embed"}


class OllamaClient(EmbeddingEndpoint, HealthEndpoint):
    """A client of an Ollama server.

    It knows no kinds of texts: a model that needs prefixes gets them by ``query_prefix`` and
    ``passage_prefix``. Without ``truncate`` Ollama cuts texts that are too long.
    """

    default_url = "http://127.0.0.1:11434"
    embedding_wire = EmbeddingWire(
        partial(answers.listed_vectors, field="embeddings"),
        path="/api/embed",
        truncate={wanted: {"truncate": wanted} for wanted in (True, False)},
    )
    health = Post("/api/version")

    def _describe(self) -> Dialogue[Description]:
        shown = yield Post("/api/show", {"model": self.model})
        info = answers.field_of(shown, "model_info")
        facts = info if isinstance(info, dict) else {}
        family = facts.get("general.architecture")
        listed = words(answers.field_of(shown, "capabilities"))
        return Description(
            self.model,
            capabilities=frozenset(_CAPABILITIES.get(word, word) for word in listed),
            dimension=whole(facts.get(f"{family}.embedding_length")),
            max_input=whole(facts.get(f"{family}.context_length")),
        )
