"""What the LLMs of several targets can all do."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.llms.function_calling import FunctionCallingLLM

from failover_core import ConfigurationError, Target


def common_metadata(targets: Sequence[Target]) -> LLMMetadata:
    """Return the metadata that holds whichever target serves.

    The context window is the smallest (a target's declared one counts before its LLM's own),
    the room kept for the output the largest; tools are called if all targets can. The model's
    name, its system role and whether it chats are the first target's.

    Raises:
        ConfigurationError: an LLM does not know its own metadata.
    """
    known = [_metadata_of(target) for target in targets]
    windows = [
        target.context_window or metadata.context_window
        for target, metadata in zip(targets, known, strict=True)
    ]
    all_call = all(
        metadata.is_function_calling_model and isinstance(target.client, FunctionCallingLLM)
        for target, metadata in zip(targets, known, strict=True)
    )
    return known[0].model_copy(
        update={
            "context_window": min(windows),
            "num_output": max(metadata.num_output for metadata in known),
            "is_function_calling_model": all_call,
        }
    )


def _metadata_of(target: Target) -> LLMMetadata:
    try:
        metadata: LLMMetadata = target.client.metadata
    except ValueError:
        message = (
            f"target {target.name!r}: {type(target.client).__name__} does not know its model "
            f"{target.model!r}; use an LLM class that takes context_window, such as OpenAILike"
        )
        raise ConfigurationError(message) from None
    return metadata
