"""A reranker that moves on to another server or model object when one fails."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field

from failover_core.children import UnfitError
from failover_core.clients import clients_from_urls
from failover_core.clients.registry import Keys
from failover_core.config import reranker_arguments
from failover_core.engine.strategies import Strategy
from failover_core.policy import FailoverPolicy
from failover_core.reranking import RankedDocument, Ranking, RerankClient, Reranker
from langchain_failover.choices import begin
from langchain_failover.compressors import Compression
from langchain_failover.pool import UrlPooled


class FailoverReranker(BaseDocumentCompressor, UrlPooled):
    """A reranker over several targets: one ranks while any can.

    It returns copies of the documents, the best first, with ``metadata["relevance_score"]`` and
    with ``metadata["failover"]`` (who ranked them, see ``Call.report``); the documents that it
    was given stay as they are. ``top_n`` and ``score_threshold`` hold whichever target ranks.

    Example:
        >>> reranker = FailoverReranker.from_urls(
        ...     "http://a:7997,http://b:7997", model="BAAI/bge-reranker-base", top_n=5
        ... )

    Args:
        targets: compressors that score or sort documents, clients of ``failover_core.clients``,
            or URLs.
        model: name of the model; needed for URLs.
        top_n: documents to return at the most; None returns all.
        score_threshold: lowest score to return, on the model's own scale; None returns all.
        provider: protocol of URLs: ``"infinity"`` or ``"openai"``.
        api_key: key of URLs; several as a text with commas.
        policy: see ``FailoverPolicy``.
        strategy: see ``failover_core.Router``.

    Raises:
        ConfigurationError: a target or a setting cannot be used.
    """

    top_n: int | None = Field(default=None, ge=1)
    """Documents to return at the most; None returns all."""

    score_threshold: float | None = Field(default=None, allow_inf_nan=False)
    """Lowest score to return, on the model's own scale; None returns all."""

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str],
        *,
        model: str,
        provider: str = "infinity",
        api_key: Keys = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
        policy: FailoverPolicy | dict[str, Any] | None = None,
        strategy: str | Strategy = "priority",
        **client_options: Any,
    ) -> Self:
        """Build it over servers.

        Args:
            urls: a list, or one text with commas; spaces and a trailing comma are forgiven.
            model: name of the model, the same on every server.
            provider: their protocol: ``"infinity"`` or ``"openai"``.
            api_key: one for all, or several (a list, or a text with commas) paired with the URLs.
            top_n: documents to return at the most; None returns all.
            score_threshold: lowest score to return; None returns all.
            policy: see ``FailoverPolicy``.
            strategy: see ``failover_core.Router``.
            **client_options: see ``failover_core.clients.ClientOptions``, such as ``timeout``.

        Raises:
            ConfigurationError: a URL, a key or a setting cannot be used.
        """
        clients = clients_from_urls(
            urls, model=model, provider=provider, api_key=api_key, **client_options
        )
        return cls(
            targets=clients,
            model=model,
            provider=provider,
            top_n=top_n,
            score_threshold=score_threshold,
            policy=policy,
            strategy=strategy,
        )

    @classmethod
    def from_env(cls, **overrides: Any) -> Self:
        """Build it from the environment, such as ``INFINITY_BASE_URL`` and ``RERANKER_MODEL``.

        Args:
            **overrides: arguments of ``from_urls`` that go before the environment's.

        Raises:
            ConfigurationError: a variable is missing or cannot be read; the message names it.
        """
        return cls.from_urls(**{**reranker_arguments(), **overrides})

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return copies of the documents, the best first; no document sends no request.

        Raises:
            ConfigurationError: one of them is no Document, or the query no text.
            AllTargetsFailedError: no target could rank them.
        """
        wanted = self._wanted(documents, query, callbacks)

        def ask(client: Any) -> Sequence[RankedDocument]:
            if isinstance(client, BaseDocumentCompressor):
                return wanted.by(client)
            return client.rerank(query, wanted.texts, self.top_n)  # type: ignore[no-any-return]

        ranking = self._reranker().rerank(len(wanted.documents), ask)
        return _copies(wanted.documents, ranking)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return what ``compress_documents`` returns."""
        wanted = self._wanted(documents, query, callbacks)

        async def ask(client: Any) -> Sequence[RankedDocument]:
            if isinstance(client, BaseDocumentCompressor):
                return await wanted.aby(client)
            return await client.arerank(query, wanted.texts, self.top_n)  # type: ignore[no-any-return]

        ranking = await self._reranker().arerank(len(wanted.documents), ask)
        return _copies(wanted.documents, ranking)

    def _wanted(self, documents: Any, query: Any, callbacks: Callbacks) -> Compression:
        owner = type(self).__name__
        return Compression.of(documents, query, callbacks, top_n=self.top_n, owner=owner)

    def _reranker(self) -> Reranker:
        return Reranker(
            partial(begin, self.router), top_n=self.top_n, score_threshold=self.score_threshold
        )

    def _adapted(self, child: Any) -> Any:
        if isinstance(child, BaseDocumentCompressor | RerankClient):
            return child
        remedy = "pass a document compressor, a client of failover_core.clients, or a URL"
        raise UnfitError(remedy)


def _copies(documents: Sequence[Document], ranking: Ranking) -> list[Document]:
    """Return copies of the documents of a ranking, with score and report."""
    copies = []
    for ranked in ranking.ranked:
        document = documents[ranked.index]
        added = {"relevance_score": ranked.score, "failover": dict(ranking.report)}
        copies.append(document.model_copy(update={"metadata": {**document.metadata, **added}}))
    return copies
