"""LlamaIndex's rerankers among the targets: what they did, told by the nodes they return."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.instrumentation.events.rerank import ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, NodeWithScore

from failover_core.errors import MalformedResponseError
from failover_core.reranking import RankedDocument
from failover_core.targets import model_of
from llamaindex_failover.nodes import checked_nodes, own_node


class ChildReranker:
    """A LlamaIndex reranker as a client of a pool."""

    def __init__(self, child: BaseNodePostprocessor) -> None:
        self.child = child
        self.model = model_of(child)
        self.name = self.model or type(child).__name__
        self.emits_events = _emits_events(type(child))
        self._limits = [name for name in ("top_n", "top_k") if hasattr(child, name)]

    @property
    def limit(self) -> int | None:
        """How many nodes the reranker returns of itself; None: nobody has said."""
        return next((getattr(self.child, name) for name in self._limits), None)

    def keeping(self, top_n: int) -> BaseNodePostprocessor:
        """Return the reranker, set to return so many nodes."""
        other = {name: top_n for name in self._limits if getattr(self.child, name) != top_n}
        return self.child.model_copy(update=other) if other else self.child


@dataclass(frozen=True, slots=True)
class RankedNode(RankedDocument):
    """A node's place in the answer of a LlamaIndex reranker, and our copy of what became of it."""

    node: BaseNode


class Sent:
    """Copies of nodes for one attempt, which find their way back from the reranker.

    Args:
        nodes: to rank; they stay as they are.

    Attributes:
        copies: for the reranker, which may write into them.
    """

    def __init__(self, nodes: Sequence[NodeWithScore]) -> None:
        self._nodes = nodes
        self.copies = [NodeWithScore(node=own_node(one.node), score=one.score) for one in nodes]
        self._ours = {id(copy.node): copy.node for copy in self.copies}

    def ranked(self, answer: Any) -> list[RankedDocument]:
        """Return the places that the nodes of an answer had in the request, and their scores.

        Where a reranker gives none of its own, its order counts: 1, 1/2, 1/3, … The ones that the
        nodes came with are kept if they say the same.

        Raises:
            MalformedResponseError: a node was not sent or came back twice, or a score is no
                number.
        """
        returned = checked_nodes(answer, of="reranker")
        left: dict[str, list[int]] = defaultdict(list)
        for index, node in enumerate(self._nodes):
            left[node.node.node_id].append(index)
        places = [_taken(left, node.node.node_id) for node in returned]
        scores: list[Any] = [node.score for node in returned]
        is_scored = None not in scores and scores != [self._nodes[place].score for place in places]
        if None in scores or (not is_scored and scores != sorted(scores, reverse=True)):
            scores = [1 / place for place in range(1, len(returned) + 1)]
        return [
            RankedNode(place, _number(score), self._own(node.node), is_scored=is_scored)
            for place, score, node in zip(places, scores, returned, strict=True)
        ]

    def _own(self, node: BaseNode) -> BaseNode:
        return self._ours.get(id(node)) or own_node(node)


def _number(score: Any) -> float:
    try:
        return float(score)
    except (TypeError, ValueError):
        message = "the reranker gave a score that is no number"
        raise MalformedResponseError(message) from None


def _taken(left: dict[str, list[int]], node_id: str) -> int:
    if places := left[node_id]:
        return places.pop(0)
    message = (
        f"the reranker returned node {node_id!r} twice, or without having been given it; what "
        "adds, splits or replaces nodes belongs beside a FailoverRerank, in node_postprocessors"
    )
    raise MalformedResponseError(message)


def _emits_events(kind: type) -> bool:
    """Return whether a class of rerankers emits rerank events itself; most do not."""
    if getattr(kind, "emits_rerank_events", False):
        return True
    methods = (method for cls in kind.__mro__ for method in vars(cls).values() if callable(method))
    codes = (getattr(inspect.unwrap(method), "__code__", None) for method in methods)
    return any(code and ReRankStartEvent.__name__ in code.co_names for code in codes)
