"""A reranker that moves on to another server or model object when one fails."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Self, cast

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import Field

from failover_core.children import UnfitError
from failover_core.clients import Keys, clients_from_urls
from failover_core.config import reranker_arguments
from failover_core.engine.strategies import Strategy
from failover_core.policy import FailoverPolicy
from failover_core.reranking import (
    Calibration,
    Groups,
    Normalize,
    OnExhausted,
    Ranking,
    RerankClient,
    Reranker,
)
from failover_core.url_targets import limited
from langchain_failover.choices import begin
from langchain_failover.compressors import Compression
from langchain_failover.pool import Pool, UrlPooled

_OF_GROUPS = ("batch_size", "normalize", "calibrations")
_OWN = (*_OF_GROUPS, "on_exhausted", "spread")


class _RerankerPool(Pool):
    """A pool that remembers whose scores compare, and how much targets take at once."""

    groups: Groups

    def __new__(cls, targets: Any, name: str, settings: dict[str, Any]) -> Self:
        pool = super().__new__(cls, targets, name, settings)
        pool.groups = Groups(pool, **{name: settings[name] for name in _OF_GROUPS})
        return pool


class FailoverReranker(BaseDocumentCompressor, UrlPooled):
    """A reranker over several targets: one ranks while any can.

    It returns copies of the documents, the best first, with ``metadata["relevance_score"]`` and
    with ``metadata["failover"]`` (who ranked them, see ``Ranking.report``); the documents that it
    was given stay as they are. ``top_n`` and ``score_threshold`` hold whichever target ranks. A
    reranker without scores is taken by its order: 1, 1/2, 1/3, …, whatever the threshold.

    Example:
        >>> reranker = FailoverReranker.from_urls(
        ...     "http://a:7997,http://b:7997", model="BAAI/bge-reranker-base", top_n=5
        ... )

    Args:
        targets: compressors that score or sort documents, clients of ``failover_core.clients``,
            or URLs.
        model: name of the model; needed for URLs.
        top_n: documents to return at the most; None returns all.
        score_threshold: lowest score to return, after ``normalize``; None returns all.
        normalize: ``"sigmoid"`` for models whose scores are logits; see ``Normalize``.
        calibrations: fitted ones by the names of targets; see ``Calibration.fit``.
        batch_size: documents of one request at the most; None is as many as a target takes.
        spread: whether the requests of one ranking go to all targets of a model at once.
        on_exhausted: ``"passthrough"`` returns the documents as they came, marked, where no
            target can rank them; see ``OnExhausted``.
        provider: protocol of URLs, such as ``"infinity"``; see ``failover_core.clients``.
        api_key: key of URLs; several as a text with commas.
        policy: see ``FailoverPolicy``.
        strategy: see ``failover_core.Router``.

    Raises:
        ConfigurationError: a target or a setting cannot be used.
    """

    top_n: int | None = Field(default=None, ge=1)
    """Documents to return at the most; None returns all."""

    score_threshold: float | None = Field(default=None, allow_inf_nan=False)
    """Lowest score to return, on the model's own scale if it is not normalised; None: all."""

    normalize: Normalize = None
    """``"sigmoid"`` makes probabilities of logits; None leaves the scores as they are."""

    calibrations: dict[str, Calibration | None] | None = None
    """Calibrations by the names of targets; None for one whose scores stay as they are."""

    batch_size: int | None = None
    """Documents of one request at the most; None is as many as a target takes."""

    spread: bool = True
    """Whether the requests of one ranking go to all targets of a model at once."""

    on_exhausted: OnExhausted = "raise"
    """What becomes of documents that no target can rank."""

    pool_class: ClassVar[type[Pool]] = _RerankerPool

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str] | None,
        *,
        model: str,
        provider: str = "infinity",
        api_key: Keys = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
        policy: FailoverPolicy | dict[str, Any] | None = None,
        strategy: str | Strategy = "priority",
        **options: Any,
    ) -> Self:
        """Build it over servers.

        Args:
            urls: a list, or one text with commas; spaces and a trailing comma are forgiven. None
                is the vendor's own service, once for each key.
            model: name of the model, the same on every server.
            provider: their protocol: a name in ``failover_core.clients.PROVIDERS``.
            api_key: one for all, or several (a list, or a text with commas) paired with the URLs.
            top_n: documents to return at the most; None returns all.
            score_threshold: lowest score to return; None returns all.
            policy: see ``FailoverPolicy``.
            strategy: see ``failover_core.Router``.
            **options: further fields of this class (``normalize``, ``calibrations``,
                ``batch_size``, ``spread``, ``on_exhausted``), options of the clients, such as
                ``timeout`` (see ``failover_core.clients.ClientOptions``), and limits of each
                server, such as ``requests_per_minute`` (see ``Target``).

        Raises:
            ConfigurationError: a URL, a key or a setting cannot be used.
        """
        own = {name: options.pop(name) for name in _OWN if name in options}
        clients = limited(
            clients_from_urls, urls, model=model, provider=provider, api_key=api_key, **options
        )
        return cls(
            targets=clients,
            model=model,
            provider=provider,
            top_n=top_n,
            score_threshold=score_threshold,
            policy=policy,
            strategy=strategy,
            **own,
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
            AllTargetsFailedError: no target could rank them, and ``on_exhausted`` is ``"raise"``.
        """
        wanted = self._wanted(documents, query, callbacks)
        ranking = self._reranker().rerank(wanted)
        return _copies(wanted.documents, ranking)

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        """Return what ``compress_documents`` returns."""
        wanted = self._wanted(documents, query, callbacks)
        ranking = await self._reranker().arerank(wanted)
        return _copies(wanted.documents, ranking)

    def _wanted(self, documents: Any, query: Any, callbacks: Callbacks) -> Compression:
        owner = type(self).__name__
        return Compression.of(documents, query, callbacks, top_n=self.top_n, owner=owner)

    def _reranker(self) -> Reranker:
        pool = cast("_RerankerPool", self._pool())
        return Reranker(
            partial(begin, pool.router),
            pool.groups,
            top_n=self.top_n,
            score_threshold=self.score_threshold,
            on_exhausted=self.on_exhausted,
            spread=self.spread,
        )

    def _pool_settings(self) -> dict[str, Any]:
        return super()._pool_settings() | {name: getattr(self, name) for name in _OF_GROUPS}

    def _adapted(self, child: Any) -> Any:
        if isinstance(child, BaseDocumentCompressor | RerankClient):
            return child
        remedy = "pass a document compressor, a client of failover_core.clients, or a URL"
        raise UnfitError(remedy)


def _copies(documents: Sequence[Document], ranking: Ranking) -> list[Document]:
    """Return copies of the documents of a ranking, with score (if any was given) and report."""
    copies = []
    for ranked in ranking.ranked:
        document = documents[ranked.index]
        added: dict[str, Any] = {"failover": ranking.report_on(ranked)}
        if not ranking.is_degraded:
            added["relevance_score"] = ranked.score
        copies.append(document.model_copy(update={"metadata": {**document.metadata, **added}}))
    return copies
