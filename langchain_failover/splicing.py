"""The text of streamed chunks: how another target's stream is put together with a broken one."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

_REASONING = {"reasoning", "reasoning_content", "thinking"}
"""Blocks and arguments that are shown, but are no part of the answer."""


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
