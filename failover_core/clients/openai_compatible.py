"""The protocol of OpenAI's ``/embeddings``, and the ``/rerank`` that goes with it (vLLM, Jina)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from failover_core.clients import answers
from failover_core.clients.base import HttpClient
from failover_core.clients.dialogue import Dialogue, Post
from failover_core.clients.settings import ClientOptions
from failover_core.errors import ConfigurationError, ResponseStatusError

if TYPE_CHECKING:
    from failover_core.embedding.protocol import Kind
    from failover_core.reranking.protocol import RankedDocument

_REFUSALS = (400, 422)


class OpenAICompatibleClient(HttpClient):
    """A client of OpenAI, vLLM, llama.cpp, LM Studio, OpenRouter and their like.

    ``base_url`` is what the OpenAI SDK calls so; it normally ends in ``/v1``.

    Vectors are asked for in base64, a quarter of the bytes and a tenth of the time of JSON
    numbers. A server that ignores the wish, or refuses it (400 or 422) and then serves the same
    request without it, is not asked again; until base64 has worked once, such a refusal costs
    one more request.
    """

    health_path = "/models"

    def __init__(
        self,
        base_url: str,
        *,
        model: str,
        api_key: str | SecretStr | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(base_url, model=model, api_key=api_key, **options)
        # None until the server has shown it. Threads may learn it twice, but only one thing.
        self._speaks_base64: bool | None = None

    def _embed(self, texts: list[str], kind: Kind) -> Dialogue[NDArray[np.float32]]:  # noqa: ARG002 - the protocol knows no kinds
        if not texts:
            return np.empty((0, 0), np.float32)
        wants_base64 = self._speaks_base64 is not False
        try:
            document = yield self._embedding_post(texts, wants_base64=wants_base64)
        except ResponseStatusError as error:
            if self._speaks_base64 is not None or error.status_code not in _REFUSALS:
                raise
            document = yield self._embedding_post(texts, wants_base64=False)
        vectors = answers.in_order(answers.items(document, "data"), "embedding", len(texts))
        if wants_base64:
            self._speaks_base64 = isinstance(vectors[0], str)
        return answers.matrix(vectors)

    def _embedding_post(self, texts: list[str], *, wants_base64: bool) -> Post:
        encoding = "base64" if wants_base64 else "float"
        return Post(
            "/embeddings", {"model": self.model, "input": texts, "encoding_format": encoding}
        )

    def _rerank(
        self, query: str, documents: list[str], top_n: int | None
    ) -> Dialogue[list[RankedDocument]]:
        if top_n is not None and top_n < 1:
            message = f"top_n: is {top_n}; pass at least 1, or None for all"
            raise ConfigurationError(message)
        if not documents:
            return []
        payload: dict[str, Any] = {"model": self.model, "query": query, "documents": documents}
        if top_n is not None:
            payload["top_n"] = top_n
        found = answers.items((yield Post("/rerank", payload)), "results")
        return answers.ranking(found, "relevance_score", len(documents), top_n)
