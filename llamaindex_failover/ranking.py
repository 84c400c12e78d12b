"""One request to rank nodes, put to whichever kind of client a target has."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle

from failover_core.errors import MalformedResponseError
from failover_core.reranking import RankedDocument, RerankClient
from failover_core.reranking.reranker import Ranking
from failover_core.targets import model_of

PROVENANCE = "failover"
"""Key of the report in a node's metadata."""

dispatcher = get_dispatcher(__name__)


class ChildReranker:
    """A LlamaIndex reranker as a client of a pool."""

    def __init__(self, child: BaseNodePostprocessor) -> None:
        self.child = child
        self.model = model_of(child)
        self.name = self.model or type(child).__name__
        self.emits_events = _emits_events(type(child))

    def keeping(self, top_n: int) -> BaseNodePostprocessor:
        """Return the reranker, set to return so many nodes."""
        names = [name for name in ("top_n", "top_k") if hasattr(self.child, name)]
        return self.child.model_copy(update=dict.fromkeys(names, top_n))


class RankRequest:
    """Nodes to rank for a query. Emits one pair of events, unless the target does so itself.

    Args:
        nodes: which stay as they are: each attempt gets copies.
        query: likewise.
        top_n: how many are wanted; None for all.
        model: that ranks, for the events.
    """

    def __init__(
        self,
        nodes: Sequence[NodeWithScore],
        query: QueryBundle,
        *,
        top_n: int | None,
        model: str | None,
    ) -> None:
        self._nodes = nodes
        self._query = query
        self._top_n = min(top_n or len(nodes), len(nodes))
        self._model = model
        self._has_started = False
        self._target_emits = False

    def ask(self, client: ChildReranker | RerankClient) -> list[RankedDocument]:
        """Return the ranking that a client gives."""
        self._start(client)
        if isinstance(client, ChildReranker):
            child = client.keeping(self._top_n)
            return self._places(child.postprocess_nodes(self._copies(), self._bundle()))
        return client.rerank(self._query.query_str, self._texts(), self._top_n)

    async def aask(self, client: ChildReranker | RerankClient) -> list[RankedDocument]:
        """Return the ranking that a client gives."""
        self._start(client)
        if isinstance(client, ChildReranker):
            child = client.keeping(self._top_n)
            return self._places(await child.apostprocess_nodes(self._copies(), self._bundle()))
        return await client.arerank(self._query.query_str, self._texts(), self._top_n)

    def answer(self, ranking: Ranking) -> list[NodeWithScore]:
        """Return copies of the nodes that the ranking keeps, which say who ranked them."""
        nodes = [
            NodeWithScore(
                node=_signed(self._nodes[ranked.index].node, ranking.report), score=ranked.score
            )
            for ranked in ranking.ranked
        ]
        if self._has_started and not self._target_emits:
            dispatcher.event(ReRankEndEvent(nodes=nodes))
        return nodes

    def _start(self, client: ChildReranker | RerankClient) -> None:
        self._target_emits = isinstance(client, ChildReranker) and client.emits_events
        if self._has_started or self._target_emits:
            return
        self._has_started = True
        event = ReRankStartEvent(
            query=self._query,
            nodes=list(self._nodes),
            top_n=self._top_n,
            model_name=self._model or client.model or "unknown",
        )
        dispatcher.event(event)

    def _texts(self) -> list[str]:
        return [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in self._nodes]

    def _copies(self) -> list[NodeWithScore]:
        return [NodeWithScore(node=_copy(node.node), score=node.score) for node in self._nodes]

    def _bundle(self) -> QueryBundle:
        return QueryBundle(self._query.query_str)

    def _places(self, ranked: Sequence[NodeWithScore]) -> list[RankedDocument]:
        """Return the places that the nodes of an answer had in the request."""
        places: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self._nodes):
            places[node.node.node_id].append(index)
        found = []
        for node in ranked:
            left = places[node.node.node_id]
            if node.score is None or not left:
                message = "the reranker returned a node without a score, or one it was not given"
                raise MalformedResponseError(message)
            found.append(RankedDocument(left.pop(0), float(node.score)))
        return found


def _emits_events(kind: type) -> bool:
    """Return whether a class of rerankers emits rerank events itself; most do not."""
    if getattr(kind, "emits_rerank_events", False):
        return True
    methods = (method for cls in kind.__mro__ for method in vars(cls).values() if callable(method))
    codes = (getattr(inspect.unwrap(method), "__code__", None) for method in methods)
    return any(code and ReRankStartEvent.__name__ in code.co_names for code in codes)


def _copy(node: BaseNode) -> BaseNode:
    """Return a copy whose metadata can be changed."""
    return node.model_copy(
        update={
            "metadata": dict(node.metadata),
            "excluded_llm_metadata_keys": list(node.excluded_llm_metadata_keys),
            "excluded_embed_metadata_keys": list(node.excluded_embed_metadata_keys),
        }
    )


def _signed(node: BaseNode, report: dict[str, Any]) -> BaseNode:
    """Return a copy with the report in its metadata, but not in what prompts show of it."""
    copy = _copy(node)
    copy.metadata[PROVENANCE] = report
    for hidden in (copy.excluded_llm_metadata_keys, copy.excluded_embed_metadata_keys):
        if PROVENANCE not in hidden:
            hidden.append(PROVENANCE)
    return copy
