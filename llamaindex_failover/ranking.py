"""One request to rank nodes, put to whichever kind of client a target has."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle

from failover_core.errors import MalformedResponseError
from failover_core.reranking import RankedDocument, RerankClient
from failover_core.reranking.reranker import Ranking
from failover_core.targets import model_of
from llamaindex_failover.instrumentation import is_heard
from llamaindex_failover.nodes import checked_nodes, own_node, signed_node
from llamaindex_failover.queries import fresh_query

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
        child = self.child
        limits = {
            name: top_n for name in ("top_n", "top_k") if getattr(child, name, top_n) != top_n
        }
        return child.model_copy(update=limits) if limits else child


Client = ChildReranker | RerankClient


@dataclass(frozen=True, slots=True)
class RankedNode(RankedDocument):
    """A node's place in the answer of a LlamaIndex reranker, and what became of the node."""

    node: BaseNode


class RankRequest:
    """Nodes to rank for a query. Emits one pair of events, unless the target does so itself.

    Args:
        nodes: which stay as they are: each attempt gets copies.
        query: likewise.
        top_n: how many are wanted; None for all.
        model: that ranks, for the events.
        callback_manager: hears of the requests to clients; rerankers have one of their own.
    """

    def __init__(
        self,
        nodes: Sequence[NodeWithScore],
        query: QueryBundle,
        *,
        top_n: int | None,
        model: str | None,
        callback_manager: CallbackManager,
    ) -> None:
        self._nodes = nodes
        self._query = query
        self._top_n = top_n or len(nodes)
        self._model = model
        self._manager = callback_manager
        self._has_started = False

    def ask(self, client: Client) -> list[RankedDocument]:
        """Return the ranking that a client gives."""
        self._start(client)
        if isinstance(client, ChildReranker):
            child = client.keeping(self._top_n)
            return self._ranked(child.postprocess_nodes(self._copies(), fresh_query(self._query)))
        with self._reported(client) as ranked:
            ranked.extend(dispatcher.span(client.rerank)(*self._plain()))
        return ranked

    async def aask(self, client: Client) -> list[RankedDocument]:
        """Return the ranking that a client gives."""
        self._start(client)
        if isinstance(client, ChildReranker):
            child = client.keeping(self._top_n)
            answer = await child.apostprocess_nodes(self._copies(), fresh_query(self._query))
            return self._ranked(answer)
        with self._reported(client) as ranked:
            ranked.extend(await dispatcher.span(client.arerank)(*self._plain()))
        return ranked

    def answer(self, ranking: Ranking, winner: Client | None) -> list[NodeWithScore]:
        """Return copies of the nodes that the ranking keeps, which say who ranked them.

        Args:
            ranking: of these nodes.
            winner: the client that gave it; None if there was nothing to rank.
        """
        nodes = [
            NodeWithScore(node=signed_node(self._node(ranked), ranking.report), score=ranked.score)
            for ranked in ranking.ranked
        ]
        if self._has_started and not _speaks(winner):
            dispatcher.event(ReRankEndEvent(nodes=nodes))
        return nodes

    def _start(self, client: Client) -> None:
        if self._has_started or _speaks(client) or not is_heard(dispatcher):
            return
        self._has_started = True
        event = ReRankStartEvent(
            query=self._query,
            nodes=list(self._nodes),
            top_n=self._top_n,
            model_name=self._model_of(client),
        )
        dispatcher.event(event)

    @contextmanager
    def _reported(self, client: RerankClient) -> Iterator[list[RankedDocument]]:
        """Report a request to the callback manager, as rerankers of LlamaIndex do."""
        asked: dict[str, Any] = {
            EventPayload.NODES: list(self._nodes),
            EventPayload.MODEL_NAME: self._model_of(client),
            EventPayload.QUERY_STR: self._query.query_str,
            EventPayload.TOP_K: self._top_n,
        }
        with self._manager.event(CBEventType.RERANKING, payload=asked) as event:
            ranked: list[RankedDocument] = []
            yield ranked
            event.on_end(payload={EventPayload.NODES: self._scored(ranked)})

    def _scored(self, ranked: Sequence[RankedDocument]) -> list[NodeWithScore]:
        known = (one for one in ranked if 0 <= one.index < len(self._nodes))
        return [NodeWithScore(node=self._node(one), score=one.score) for one in known]

    def _model_of(self, client: Client) -> str:
        return self._model or client.model or "unknown"

    def _plain(self) -> tuple[str, list[str], int]:
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in self._nodes]
        return self._query.query_str, texts, min(self._top_n, len(texts))

    def _copies(self) -> list[NodeWithScore]:
        return [NodeWithScore(node=own_node(one.node), score=one.score) for one in self._nodes]

    def _node(self, ranked: RankedDocument) -> BaseNode:
        """Return a node as its reranker left it, which may have written into its metadata."""
        return ranked.node if isinstance(ranked, RankedNode) else self._nodes[ranked.index].node

    def _ranked(self, answer: Any) -> list[RankedDocument]:
        """Return the places that the nodes of an answer had in the request, and their scores."""
        places: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self._nodes):
            places[node.node.node_id].append(index)
        found = []
        for node in (returned := checked_nodes(answer, of="reranker")):
            if not (left := places[node.node.node_id]):
                message = (
                    f"the reranker returned node {node.node.node_id!r} twice, or without having "
                    "been given it; what adds, splits or replaces nodes belongs beside a "
                    "FailoverRerank, in node_postprocessors"
                )
                raise MalformedResponseError(message)
            found.append(left.pop(0))
        scores = self._scores(returned, found)
        return [
            RankedNode(index, score, node.node)
            for index, score, node in zip(found, scores, returned, strict=True)
        ]

    def _scores(self, returned: list[NodeWithScore], places: list[int]) -> list[float]:
        """Return the scores of an answer.

        Where a reranker gives none of its own, its order counts: 1, 1/2, 1/3, … The ones that the
        nodes came with are kept if they say the same.
        """
        scores: list[Any] = [node.score for node in returned]
        before = [self._nodes[place].score for place in places]
        if None in scores or (scores == before and scores != sorted(scores, reverse=True)):
            return [1 / place for place in range(1, len(returned) + 1)]
        try:
            return [float(score) for score in scores]
        except (TypeError, ValueError):
            message = "the reranker gave a score that is no number"
            raise MalformedResponseError(message) from None


def _speaks(client: Client | None) -> bool:
    """Return whether a client emits rerank events itself."""
    return isinstance(client, ChildReranker) and client.emits_events


def _emits_events(kind: type) -> bool:
    """Return whether a class of rerankers emits rerank events itself; most do not."""
    if getattr(kind, "emits_rerank_events", False):
        return True
    methods = (method for cls in kind.__mro__ for method in vars(cls).values() if callable(method))
    codes = (getattr(inspect.unwrap(method), "__code__", None) for method in methods)
    return any(code and ReRankStartEvent.__name__ in code.co_names for code in codes)
