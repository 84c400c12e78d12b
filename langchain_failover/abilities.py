"""What chat models among the targets can do, and what a request needs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.messages.utils import count_tokens_approximately

from failover_core.abilities import Differences, is_schema, without
from failover_core.engine.needs import CallOptions
from failover_core.targets import Capability, Target
from langchain_failover.cache_marks import takes_marks
from langchain_failover.children import fixed_model
from langchain_failover.identity import Memory
from langchain_failover.pool import Pool, Pooled

_IN_PROFILES = {
    "tool_calling": Capability.TOOLS,
    "structured_output": Capability.STRUCTURED_OUTPUT,
    "image_inputs": Capability.IMAGES,
}
_IMAGES = {"image", "image_url", "input_image"}
"""Types of content blocks that are images."""


class ChatPool(Pool):
    """A pool of chat models, which knows what its targets can do, and what they say they are.

    A target that does not say so itself can do what its model can, as far as that is known: of
    LangChain's profiles, and of classes without ``bind_tools``.

    Attributes:
        memory: of what the targets say of themselves.
        model_names: of all targets.
        keeps_marks_apart: whether marks for a prompt cache are only for those that take them.
        resumes: whether a stream that breaks goes on at another target.
        options: returns what a request needs of its target, as far as any makes a difference.
    """

    memory: Memory
    model_names: str
    keeps_marks_apart: bool
    resumes: bool
    options: Callable[[Sequence[BaseMessage], dict[str, Any]], CallOptions]

    def __new__(  # noqa: D102 - as in Pool
        cls, targets: Iterable[Target], name: str, settings: dict[str, Any]
    ) -> Self:
        pool = super().__new__(cls, map(_described, targets), name, settings)
        differences: Differences[Sequence[BaseMessage], dict[str, Any]] = Differences(
            pool, required=_REQUIRED, length=_length, tokens=_tokens
        )
        pool.options = differences.options
        pool.resumes = pool.router.policy.on_broken_stream == "resume"
        pool.memory = Memory(pool)
        pool.model_names = ", ".join(dict.fromkeys(str(one.model or one.name) for one in pool))
        models = [model for target in pool if (model := fixed_model(target.client))]
        # Where nobody speaks Anthropic's protocol, a server that forwards to them may be meant.
        pool.keeps_marks_apart = any(map(takes_marks, models))
        return pool


def _described(target: Target) -> Target:
    model = fixed_model(target.client)
    if model is None or isinstance(model, Pooled):  # a pool knows its own targets
        return target
    profile: dict[str, Any] = {**(model.profile or {})}
    lacks = {word for name, word in _IN_PROFILES.items() if profile.get(name) is False}
    if type(model).bind_tools is BaseChatModel.bind_tools:
        lacks.add(Capability.TOOLS)
    window = target.context_window or profile.get("max_input_tokens")
    return replace(without(target, lacks), context_window=window)


def _needs_tools(_: Sequence[BaseMessage], arguments: dict[str, Any]) -> bool:
    return bool(arguments.get("tools"))


def _needs_schema(_: Sequence[BaseMessage], arguments: dict[str, Any]) -> bool:
    return is_schema(arguments.get("response_format"))


def _needs_images(messages: Sequence[BaseMessage], _: dict[str, Any]) -> bool:
    return any(_is_image(block) for message in messages for block in _blocks(message))


_REQUIRED = {
    Capability.TOOLS: _needs_tools,
    Capability.STRUCTURED_OUTPUT: _needs_schema,
    Capability.IMAGES: _needs_images,
}


def _blocks(message: BaseMessage) -> Sequence[Any]:
    return message.content if isinstance(message.content, list) else ()


def _is_image(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") in _IMAGES


def _tokens(messages: Sequence[BaseMessage], _: dict[str, Any]) -> int:
    return count_tokens_approximately(messages)


def _length(messages: Sequence[BaseMessage], _: dict[str, Any]) -> int:
    """Return the characters of all texts."""
    length = 0
    for message in messages:
        if isinstance(message.content, str):
            length += len(message.content)
        else:
            length += sum(len(str(_text_in(block))) for block in message.content)
    return length


def _text_in(block: Any) -> Any:
    return block.get("text", "") if isinstance(block, dict) else block
