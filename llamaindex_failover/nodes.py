"""Nodes: copies for each attempt, which may be written to, and for the answer."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import BaseNode, NodeWithScore

from failover_core.errors import MalformedResponseError
from failover_core.reranking import own

PROVENANCE = "failover"
"""Key of the report in a node's metadata."""


def checked_nodes(answer: Any, *, of: str) -> list[NodeWithScore]:
    """Return an answer if it is nodes.

    Args:
        answer: of a child.
        of: what the child is, for the message.

    Raises:
        MalformedResponseError: it is something else.
    """
    if isinstance(answer, list | tuple) and all(isinstance(one, NodeWithScore) for one in answer):
        return list(answer)
    message = f"the {of} answered with {type(answer).__name__}, not with a list of NodeWithScore"
    raise MalformedResponseError(message)


def own_node(node: BaseNode) -> BaseNode:
    """Return a copy of a node whose metadata and lists can be written to."""
    copy = node.model_copy()
    fields = copy.__dict__
    for name, value in node.__dict__.items():
        kind = type(value)
        if kind is list:
            fields[name] = value.copy()
        elif kind is dict:
            fields[name] = own(value)
    return copy


def sign(node: BaseNode, report: dict[str, Any]) -> None:
    """Write the report into a node's metadata, but not into what prompts show of it."""
    node.metadata[PROVENANCE] = dict(report)
    for hidden in (node.excluded_llm_metadata_keys, node.excluded_embed_metadata_keys):
        if PROVENANCE not in hidden:
            hidden.append(PROVENANCE)
