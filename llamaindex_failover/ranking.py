"""One request to rank nodes, put to whichever kind of client a target has."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle

from failover_core.reranking import RankedDocument, Ranking, RerankClient
from llamaindex_failover.child_rerankers import ChildReranker, RankedNode, Sent
from llamaindex_failover.instrumentation import is_heard
from llamaindex_failover.nodes import own_node, sign
from llamaindex_failover.queries import fresh_query

dispatcher = get_dispatcher(__name__)


Client = ChildReranker | RerankClient


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
        self._top_n = top_n
        self._model = model
        self._manager = callback_manager
        self._has_started = False

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def query(self) -> str:
        """The text that the nodes are ranked for."""
        return self._query.query_str

    @cached_property
    def texts(self) -> list[str]:
        """The texts of the nodes, as clients are given them."""
        return [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in self._nodes]

    def ask(self, client: Client, piece: range) -> list[RankedDocument]:
        """Return the ranking that a client gives to some of the nodes."""
        self._start(client)
        top_n = self._wanted(piece)
        if isinstance(client, ChildReranker):
            child, sent = client.keeping(top_n), Sent(self._at(piece))
            return sent.ranked(child.postprocess_nodes(sent.copies, fresh_query(self._query)))
        texts = self.texts[piece.start : piece.stop]
        with self._reported(client, piece) as ranked:
            ranked.extend(dispatcher.span(client.rerank)(self.query, texts, top_n))
        return ranked

    async def aask(self, client: Client, piece: range) -> list[RankedDocument]:
        """Return the ranking that a client gives to some of the nodes."""
        self._start(client)
        top_n = self._wanted(piece)
        if isinstance(client, ChildReranker):
            child, sent = client.keeping(top_n), Sent(self._at(piece))
            answer = await child.apostprocess_nodes(sent.copies, fresh_query(self._query))
            return sent.ranked(answer)
        texts = self.texts[piece.start : piece.stop]
        with self._reported(client, piece) as ranked:
            ranked.extend(await dispatcher.span(client.arerank)(self.query, texts, top_n))
        return ranked

    def answer(self, ranking: Ranking, *, emitters: Collection[str]) -> list[NodeWithScore]:
        """Return copies of the nodes that the ranking keeps, which say who ranked them.

        Nodes that nobody ranked have the scores that they came with.

        Args:
            ranking: of these nodes.
            emitters: names of the targets that emit events themselves.
        """
        nodes = []
        for one in ranking.ranked:
            score = self._nodes[one.index].score if ranking.is_degraded else one.score
            nodes.append(NodeWithScore(node=self._own(one), score=score))
            sign(nodes[-1].node, ranking.report_on(one))
        if self._has_started and ranking.report["target"] not in emitters:
            dispatcher.event(ReRankEndEvent(nodes=nodes))
        return nodes

    def _start(self, client: Client) -> None:
        if self._has_started or emits_events(client) or not is_heard(dispatcher):
            return
        self._has_started = True
        event = ReRankStartEvent(
            query=self._query,
            nodes=list(self._nodes),
            top_n=self._wanted(range(len(self))),
            model_name=self._model_of(client),
        )
        dispatcher.event(event)

    @contextmanager
    def _reported(self, client: RerankClient, piece: range) -> Iterator[list[RankedDocument]]:
        """Report a request to the callback manager, as rerankers of LlamaIndex do."""
        nodes = self._at(piece)
        asked: dict[str, Any] = {
            EventPayload.NODES: list(nodes),
            EventPayload.MODEL_NAME: self._model_of(client),
            EventPayload.QUERY_STR: self._query.query_str,
            EventPayload.TOP_K: self._wanted(piece),
        }
        with self._manager.event(CBEventType.RERANKING, payload=asked) as event:
            ranked: list[RankedDocument] = []
            yield ranked
            event.on_end(payload={EventPayload.NODES: _scored(nodes, ranked)})

    def _at(self, piece: range) -> Sequence[NodeWithScore]:
        return self._nodes[piece.start : piece.stop]

    def _wanted(self, piece: range) -> int:
        return min(self._top_n or len(piece), len(piece))

    def _model_of(self, client: Client) -> str:
        return self._model or client.model or "unknown"

    def _own(self, ranked: RankedDocument) -> BaseNode:
        """Return a copy of a node, as its reranker left it (some write into its metadata)."""
        if isinstance(ranked, RankedNode):
            return ranked.node
        return own_node(self._nodes[ranked.index].node)


def _scored(
    nodes: Sequence[NodeWithScore], ranked: Sequence[RankedDocument]
) -> list[NodeWithScore]:
    known = (one for one in ranked if 0 <= one.index < len(nodes))
    return [NodeWithScore(node=nodes[one.index].node, score=one.score) for one in known]


def emits_events(client: Client) -> bool:
    """Return whether a client emits rerank events itself."""
    return isinstance(client, ChildReranker) and client.emits_events
