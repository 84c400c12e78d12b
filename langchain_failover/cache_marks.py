"""Marks for the prompt cache of Anthropic's models, which other vendors' servers refuse.

In a pool of both, ``cache_control`` in a request is meant for the one and kept from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

_MARK = "cache_control"
_NESTED = ("extras", "metadata")


def takes_marks(model: BaseChatModel) -> bool:
    """Return whether a chat model speaks Anthropic's protocol."""
    return model._llm_type.startswith("anthropic")


def without_marks(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages, those with marks as copies without them."""
    return [_unmarked(message) for message in messages]


def arguments_without_marks(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call without the mark among them."""
    return {name: value for name, value in arguments.items() if name != _MARK}


def _unmarked(message: BaseMessage) -> BaseMessage:
    if not isinstance(message.content, list):
        return message
    blocks = [_unmarked_block(block) for block in message.content]
    return message if blocks == message.content else message.model_copy(update={"content": blocks})


def _unmarked_block(block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    kept = {name: value for name, value in block.items() if name != _MARK}
    for name in _NESTED:
        if isinstance(nested := kept.get(name), dict):
            kept[name] = {key: value for key, value in nested.items() if key != _MARK}
    return kept
