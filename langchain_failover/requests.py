"""One streamed request of a chat model: how a target answers it, and how another one goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from failover_core.engine.attempt import Attempt
from failover_core.resuming import Resume
from langchain_failover.children import Child

_REASONING = {"reasoning", "reasoning_content", "thinking"}
"""Blocks and arguments that are shown, but are no part of the answer."""


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """A request for a stream, as it may go to several targets.

    Attributes:
        messages: the conversation.
        stop: where the answer is to stop, or None for what each child has of its own.
        arguments: further ones of the call.
    """

    messages: list[BaseMessage]
    stop: list[str] | None
    arguments: dict[str, Any]

    def stream(self, attempt: Attempt) -> Iterator[ChatGenerationChunk]:
        """Answer at the target of an attempt."""
        return self._child(attempt.client).stream(self.messages)

    def astream(self, attempt: Attempt) -> AsyncIterator[ChatGenerationChunk]:
        """Answer at the target of an attempt."""
        return self._child(attempt.client).astream(self.messages)

    @property
    def resume(self) -> Resume[ChatGenerationChunk]:
        """How another target goes on with the stream."""
        return self._resume(
            lambda client, text: self._child(client).stream([*self.messages, AIMessage(text)])
        )

    @property
    def aresume(self) -> Resume[ChatGenerationChunk]:
        """How another target goes on with the async stream."""
        return self._resume(
            lambda client, text: self._child(client).astream([*self.messages, AIMessage(text)])
        )

    def _resume(self, prefill: Any) -> Resume[ChatGenerationChunk]:
        # Servers that hold an answer to a schema begin it anew after a prefill.
        is_free = "response_format" not in self.arguments
        return Resume(shown_text, with_text, prefill if is_free else None)

    def _child(self, client: Any) -> Child:
        return Child.of(client, self.stop, self.arguments)


def shown_text(chunk: ChatGenerationChunk) -> str | None:
    """Return the text that a chunk adds to the answer; None if it adds anything else."""
    message = chunk.message
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        return None
    if any(value for name, value in message.additional_kwargs.items() if name not in _REASONING):
        return None
    if isinstance(message.content, str):
        return message.content
    texts = [_text_of(block) for block in message.content]
    return None if None in texts else "".join(filter(None, texts))


def _text_of(block: str | dict[str, Any]) -> str | None:
    if isinstance(block, str):
        return block
    if block.get("type") == "text":
        return str(block.get("text") or "")
    return "" if block.get("type") in _REASONING else None


def with_text(chunk: ChatGenerationChunk, text: str, _whole: str) -> ChatGenerationChunk:
    """Return a chunk with another text; all else in it stays."""
    message = chunk.message
    if shown_text(chunk) == text:
        return chunk
    fields = {"content": _replaced(message.content, text)}
    return ChatGenerationChunk(
        message=message.model_copy(update=fields), generation_info=chunk.generation_info
    )


def _replaced(content: str | list[str | dict[str, Any]], text: str) -> Any:
    """Return a content whose text, wherever it stands in it, is another one."""
    if isinstance(content, str):
        return text
    blocks: list[str | dict[str, Any]] = []
    for block in content:
        if not _text_of(block):
            blocks.append(block)
        elif text:
            blocks.append(text if isinstance(block, str) else {**block, "text": text})
            text = ""
    return blocks
