"""What LLMs among the targets can do, and what a request needs of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeAlias

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, LLMMetadata, TextBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.utils import get_tokenizer

from failover_core import ConfigurationError, Router, Target
from failover_core.abilities import Differences, is_schema, without
from failover_core.targets import Capability

Conversation: TypeAlias = Sequence[ChatMessage | str | None]
"""Messages, or texts that become messages."""

Content: TypeAlias = str | Conversation | Callable[[], Conversation]
"""What a request says: a prompt, a conversation, or what makes one."""

Needed: TypeAlias = Collection[Capability]

_PER_MESSAGE = 3
"""Tokens by which a message is longer than its text, as LlamaIndex reckons."""


def described(targets: Sequence[Target]) -> list[Target]:
    """Return the targets, without tools those that lack them, unless they say what they have.

    Tools are lacked by LLMs whose class cannot call any. Where another LLM's metadata says that
    its model can, they are lacked as well by those whose metadata does not say so. Else that is
    no difference: with a single LLM too its metadata keeps nobody from sending it tools.

    Raises:
        ConfigurationError: an LLM does not know its own metadata, or is of a class without tools
            although its target says that it has them.
    """
    able = [_is_said_to_call_tools(target) for target in targets]
    return [
        target if is_able else _without_tools(target, but_sent=not any(able))
        for target, is_able in zip(targets, able, strict=True)
    ]


def _is_said_to_call_tools(target: Target) -> bool:
    client = target.client
    if not isinstance(client, FunctionCallingLLM):
        return False
    is_pool = isinstance(getattr(client, "router", None), Router)  # which knows its own targets
    return is_pool or bool(metadata_of(target).is_function_calling_model)


def _without_tools(target: Target, *, but_sent: bool) -> Target:
    if isinstance(target.client, FunctionCallingLLM):
        return target if but_sent else without(target, {Capability.TOOLS})
    if Capability.TOOLS in (target.supports or ()):
        message = (
            f"target {target.name!r}: supports has 'tools', but {type(target.client).__name__} is "
            "no FunctionCallingLLM of LlamaIndex; leave the word out"
        )
        raise ConfigurationError(message)
    return without(target, {Capability.TOOLS})


def can_call_tools(target: Target) -> bool:
    """Return whether a target takes part in calls with tools."""
    return target.supports is None or Capability.TOOLS in target.supports


def metadata_of(target: Target) -> LLMMetadata:
    """Return the metadata of a target's LLM.

    Raises:
        ConfigurationError: it does not know it.
    """
    try:
        metadata: LLMMetadata = target.client.metadata
    except ValueError:
        message = (
            f"target {target.name!r}: {type(target.client).__name__} does not know its model "
            f"{target.model!r}; use an LLM class that takes context_window, such as OpenAILike"
        )
        raise ConfigurationError(message) from None
    return metadata


def differences_among(
    targets: Collection[Target],
) -> Differences[Content, dict[str, Any], Needed]:
    """Return what finds out what a request needs of its target.

    It is asked with what the request says, its further arguments, and what it needs in any case.
    """
    return Differences(targets, required=_REQUIRED, length=_length, tokens=_tokens)


def _needs_tools(_: Content, arguments: dict[str, Any], needed: Needed) -> bool:
    return Capability.TOOLS in needed or bool(arguments.get("tools"))


def _needs_schema(_: Content, arguments: dict[str, Any], needed: Needed) -> bool:
    return Capability.STRUCTURED_OUTPUT in needed or is_schema(arguments.get("response_format"))


def _needs_images(content: Content, _: dict[str, Any], __: Needed) -> bool:
    return any(isinstance(block, ImageBlock) for part in _parts(content) for block in _blocks(part))


_REQUIRED = {
    Capability.TOOLS: _needs_tools,
    Capability.STRUCTURED_OUTPUT: _needs_schema,
    Capability.IMAGES: _needs_images,
}


def _length(content: Content, _: dict[str, Any], __: Needed) -> int:
    """Return the characters of all texts."""
    return sum(map(len, _texts(content)))


def _tokens(content: Content, _: dict[str, Any], __: Needed) -> int:
    """Return the tokens of all texts, as ``Settings.tokenizer`` counts them."""
    tokenize = get_tokenizer()
    return sum(len(tokenize(text)) + _PER_MESSAGE for text in _texts(content))


def _texts(content: Content) -> Iterable[str]:
    for part in _parts(content):
        if isinstance(part, str):
            yield part
        else:
            yield "".join(block.text for block in _blocks(part) if isinstance(block, TextBlock))


def _parts(content: Content) -> Conversation:
    if isinstance(content, str):
        return (content,)
    return content() if callable(content) else content


def _blocks(part: ChatMessage | str | None) -> Sequence[object]:
    return part.blocks if isinstance(part, ChatMessage) else ()
