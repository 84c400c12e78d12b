"""Embeddings to wrap, what their vectors must be, and what reached their servers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.embeddings.openai_like import OpenAILikeEmbedding  # type: ignore[import-untyped]
from pydantic import PrivateAttr

from failover_core.testing.framing import Request
from failover_core.testing.language import embed

TEXTS = [f"The boat number {number} sails at dawn." for number in range(7)]


def served_vectors(texts: Iterable[str]) -> list[list[float]]:
    """Return the vectors that a fault server answers for texts."""
    return embed(list(texts), "m", 384).astype("<f4").tolist()  # type: ignore[no-any-return]


class Server(Protocol):
    """What the tests of embeddings need of a server."""

    @property
    def url(self) -> str: ...

    @property
    def requests(self) -> list[Request]: ...

    def stop(self) -> None: ...


def over_http(server: Server, **options: Any) -> BaseEmbedding:
    """Return a vendor's own LlamaIndex embedding over a server."""
    settings = {"model_name": "m", "api_key": "none", "max_retries": 0, "num_workers": None}
    return OpenAILikeEmbedding(api_base=f"{server.url}/v1", **(settings | options))  # type: ignore[no-any-return]


def sent_to(*servers: Server, among: Iterable[str]) -> Counter[str]:
    """Return how often each of these texts was sent."""
    wanted = set(among)
    inputs = (request.body.get("input") or [] for server in servers for request in server.requests)
    texts = ([given] if isinstance(given, str) else given for given in inputs)
    return Counter(text for batch in texts for text in batch if text in wanted)


class Scripted(BaseEmbedding):
    """An embedding without a server: numbers that only its text has.

    Attributes:
        is_down: whether its server is away.
        poison: a text that it refuses, and no other one.
        batches: the texts of each request so far.
    """

    is_down: bool = False
    poison: str | None = None
    _batches: list[list[str]] = PrivateAttr(default_factory=list)

    @property
    def batches(self) -> list[list[str]]:
        return self._batches

    def answer(self, texts: list[str]) -> Any:
        return [[float(len(text)), float(sum(map(ord, text)) % 8191), 0.0] for text in texts]

    def _asked(self, texts: list[str]) -> Any:
        self._batches.append(texts)
        if self.is_down or self.poison in texts:
            message = "the server is away"
            raise ConnectionError(message)
        return self.answer(texts)

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._asked([query])[0]
        return [*vector[:2], 1.0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        vector: list[float] = self._asked([text])[0]
        return vector

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embedding(text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._asked(texts)
        return vectors

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._get_text_embeddings(texts)
