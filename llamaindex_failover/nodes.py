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
    containers = {
        name: own(value) if isinstance(value, dict) else list(value)
        for name, value in node.__dict__.items()
        if isinstance(value, dict | list)
    }
    return node.model_copy(update=containers)


def signed_node(node: BaseNode, report: dict[str, Any]) -> BaseNode:
    """Return a copy with the report in its metadata, but not in what prompts show of it."""
    return node.model_copy(
        update={
            "metadata": {**node.metadata, PROVENANCE: dict(report)},
            "excluded_llm_metadata_keys": _with_report(node.excluded_llm_metadata_keys),
            "excluded_embed_metadata_keys": _with_report(node.excluded_embed_metadata_keys),
        }
    )


def _with_report(hidden: list[str]) -> list[str]:
    return hidden if PROVENANCE in hidden else [*hidden, PROVENANCE]
