"""``FailoverRerank``: one reranker for LlamaIndex out of several."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Self

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import Field, PrivateAttr

from failover_core import ConfigurationError, Router, Strategy
from failover_core.children import UnfitError
from failover_core.config import reranker_arguments
from failover_core.reranking import (
    Calibration,
    Groups,
    Normalize,
    OnExhausted,
    RerankClient,
    Reranker,
)
from failover_core.url_targets import limited, with_url_clients
from llamaindex_failover.child_rerankers import ChildReranker
from llamaindex_failover.choices import begin
from llamaindex_failover.components import FailoverComponent, Policy, build_router
from llamaindex_failover.instrumentation import traced_by_child
from llamaindex_failover.ranking import RankRequest, emits_events

_WANTED = (
    "give a reranker of LlamaIndex (a subclass of BaseNodePostprocessor), a client of this "
    "library such as InfinityClient, or a URL"
)

_OWN = ("normalize", "calibrations", "batch_size", "spread", "on_exhausted")


class FailoverRerank(FailoverComponent, BaseNodePostprocessor):
    """A reranker that asks the first of several rerankers that can answer.

    ``pip install "rag-failover[llamaindex]"``

    Example:
        >>> rerank = FailoverRerank.from_urls(
        ...     "http://a:7997,http://b:7997", model="BAAI/bge-reranker-v2-m3", top_n=5
        ... )
        >>> engine = index.as_query_engine(node_postprocessors=[rerank])

    The nodes that come back are copies, best first, cut to ``top_n`` and ``score_threshold``
    whichever target served. Each says who that was in ``metadata["failover"]``, which is kept
    out of prompts and embeddings: ``target``, ``model``, ``attempts``, ``failed_over``,
    ``errors``, ``degraded``, ``scored`` (see ``failover_core.reranking.Ranking``).

    One pair of rerank events is emitted per call; a wrapped reranker that emits them itself is
    left to it. Its spans are the only ones of its calls. The instrument tag
    ``{"failover": "name"}`` names the target to try first.

    A wrapped reranker may leave nodes out, but not add or replace any. One that gives no scores
    of its own is taken by its order: 1, 1/2, 1/3, …, whatever the threshold.

    Attributes:
        targets: rerankers, clients of this library, URLs (which need ``model``), or a
            ``Target`` of one of the first two. A wrapped reranker's own ``top_n`` is overruled.
        model: that URLs in ``targets`` serve.
        top_n: nodes to keep at the most. Default: the first wrapped reranker's
            own ``top_n`` or ``top_k``, or all.
        score_threshold: lowest score to keep, after ``normalize``. Default: keep all.
        normalize: ``"sigmoid"`` for models whose scores are logits; see ``Normalize``.
        calibrations: fitted ones by the names of targets; see ``Calibration.fit``.
        batch_size: nodes of one request at the most; None is as many as a target takes.
        spread: whether the requests of one ranking go to all targets of a model at once.
        on_exhausted: ``"passthrough"`` returns the nodes as they came, marked, where no target
            can rank them; see ``OnExhausted``.

    Raises:
        ConfigurationError: a target is no reranker, or a setting is out of range.
    """

    emits_rerank_events: ClassVar[bool] = True
    """Tells a pool around this one to emit none of its own."""

    model: str | None = None
    """The model that URLs in ``targets`` serve."""

    top_n: int | None = None
    """Nodes to keep at the most; None keeps all."""

    score_threshold: float | None = None
    """Lowest score to keep, on the model's own scale if it is not normalised; None keeps all."""

    normalize: Normalize = Field(default=None, frozen=True)
    """``"sigmoid"`` makes probabilities of logits; None leaves the scores as they are."""

    calibrations: dict[str, Calibration | None] | None = Field(default=None, frozen=True)
    """Calibrations by the names of targets; None for one whose scores stay as they are."""

    batch_size: int | None = Field(default=None, frozen=True)
    """Nodes of one request at the most; None is as many as a target takes."""

    spread: bool = True
    """Whether the requests of one ranking go to all targets of a model at once."""

    on_exhausted: OnExhausted = "raise"
    """What becomes of nodes that no target can rank."""

    _groups: Groups = PrivateAttr()
    _emitters: frozenset[str] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Build the router, and take over what the first target says of itself."""
        super().model_post_init(context)
        self._take_from_first("model")
        first = self.router.targets[0].client
        self._fill_in("top_n", first.limit if isinstance(first, ChildReranker) else None)
        self._groups = Groups(
            self.router.targets,
            batch_size=self.batch_size,
            normalize=self.normalize,
            calibrations=self.calibrations,
        )
        self._reranker()  # refuses settings that cannot be used
        targets = self.router.targets
        self._emitters = frozenset(str(one.name) for one in targets if emits_events(one.client))

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in dumps."""
        return "FailoverRerank"

    @classmethod
    def from_urls(
        cls,
        urls: str | Sequence[str] | None,
        *,
        model: str,
        provider: str = "infinity",
        api_key: str | Sequence[str] | None = None,
        top_n: int | None = None,
        score_threshold: float | None = None,
        policy: Policy = None,
        strategy: str | Strategy = "priority",
        **options: Any,
    ) -> Self:
        """Return a reranker over servers.

        Args:
            urls: base URLs, in a list or in one text with commas. None is the vendor's own
                service, once for each key.
            model: the model, the same on every server.
            provider: whose protocol they speak: a name in ``failover_core.clients.PROVIDERS``.
            api_key: one key, or several paired with the URLs, the last one also for the rest;
                ``"${NAME}"`` reads it from an environment variable.
            top_n: nodes to keep at the most; None keeps all.
            score_threshold: lowest score to keep, on the model's own scale; None keeps all.
            policy: a FailoverPolicy or a dict of its settings.
            strategy: in which order targets are considered.
            **options: further fields of this class (``normalize``, ``calibrations``,
                ``batch_size``, ``spread``, ``on_exhausted``), options of the clients, such as
                ``timeout`` in seconds (see ``ClientSettings``), and limits of each server, such
                as ``requests_per_minute`` (see ``Target``).

        Raises:
            ConfigurationError: a URL, key or option cannot be used.
        """
        own = {name: options.pop(name) for name in _OWN if name in options}
        return cls(
            targets=limited(
                with_url_clients, urls, model=model, provider=provider, api_key=api_key, **options
            ),
            model=model,
            top_n=top_n,
            score_threshold=score_threshold,
            policy=policy,
            strategy=strategy,
            **own,
        )

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Return a reranker over what the environment names.

        ``RERANKER_PROVIDER``, ``RERANKER_MODEL``, ``RERANKER_DEFAULT_TOP_K``,
        ``RERANKER_SCORE_THRESHOLD``, and the provider's own variables, such as
        ``INFINITY_RERANK_URL`` or else ``INFINITY_BASE_URL`` (commas between several).

        Args:
            **settings: arguments of ``from_urls`` that come before the environment.

        Raises:
            ConfigurationError: a variable is missing or cannot be used.
        """
        return cls.from_urls(**(reranker_arguments() | settings))

    @traced_by_child
    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        request = self._request(nodes, query_bundle)
        ranking = self._reranker().rerank(request)
        return request.answer(ranking, emitters=self._emitters)

    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        request = self._request(nodes, query_bundle)
        ranking = await self._reranker().arerank(request)
        return request.answer(ranking, emitters=self._emitters)

    def _request(self, nodes: Any, query: Any) -> RankRequest:
        if not isinstance(query, QueryBundle):
            message = (
                f"{self.class_name()}: there is no query to rank for; pass query_str or "
                "query_bundle to postprocess_nodes"
            )
            raise ConfigurationError(message)
        for place, node in enumerate(nodes):
            if not isinstance(node, NodeWithScore):
                message = (
                    f"{self.class_name()}: nodes[{place}] is {type(node).__name__}; "
                    "wrap it: NodeWithScore(node=…)"
                )
                raise ConfigurationError(message)
        return RankRequest(
            nodes,
            query,
            top_n=self.top_n,
            model=self.model,
            callback_manager=self.callback_manager,
        )

    def _reranker(self) -> Reranker:
        return Reranker(
            partial(begin, self.router),
            self._groups,
            top_n=self.top_n,
            score_threshold=self.score_threshold,
            on_exhausted=self.on_exhausted,
            spread=self.spread,
        )

    def _build_router(self) -> Router:
        return build_router(
            with_url_clients(self.targets, model=self.model, provider="infinity", api_key=None),
            _adapted,
            name=self.class_name(),
            policy=self.policy,
            strategy=self.strategy,
        )


def _adapted(child: Any) -> Any:
    if isinstance(child, BaseNodePostprocessor):
        return ChildReranker(child)
    if isinstance(child, RerankClient):
        return child
    raise UnfitError(_WANTED)
