"""What the LLMs of several targets can all do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import LLMMetadata

from failover_core import Target
from failover_core.targets import Capability
from llamaindex_failover.llm_abilities import can_call_tools, metadata_of


def common_metadata(targets: Sequence[Target], given: Sequence[Any]) -> LLMMetadata:
    """Return the metadata that holds whichever target serves.

    The context window is the smallest (a target's declared one counts before its LLM's own),
    the room kept for the output the largest. The model's name, its system role and whether it
    chats are the first target's.

    Agents, workflows and ``predict_and_call`` call tools natively if the metadata says so, and
    otherwise by prompts, which every LLM can answer. So it says so if every target can call
    tools, apart from those whose ``supports`` the user wrote without tools: of them it is known
    that such calls pass them over.

    Args:
        targets: of the pool.
        given: what the user gave for each of them.

    Raises:
        ConfigurationError: an LLM does not know its own metadata.
    """
    known = [metadata_of(target) for target in targets]
    windows = [
        target.context_window or metadata.context_window
        for target, metadata in zip(targets, known, strict=True)
    ]
    callers = [
        can_call_tools(target) and (metadata.is_function_calling_model or bool(target.supports))
        for target, metadata, own in zip(targets, known, given, strict=True)
        if not _is_said_to_have_no_tools(own)
    ]
    return known[0].model_copy(
        update={
            "context_window": min(windows),
            "num_output": max(metadata.num_output for metadata in known),
            "is_function_calling_model": bool(callers) and all(callers),
        }
    )


def _is_said_to_have_no_tools(given: Any) -> bool:
    supports = given.supports if isinstance(given, Target) else None
    return supports is not None and Capability.TOOLS not in supports
