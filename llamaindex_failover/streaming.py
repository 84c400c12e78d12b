"""What counts as content of a LlamaIndex stream, and as its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatResponse,
    CompletionResponse,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from failover_core import BrokenStreamError
from failover_core.resuming import Resume

Response = ChatResponse | CompletionResponse
R = TypeVar("R", ChatResponse, CompletionResponse)

_OPENAI = "llama_index.llms.openai.base"


def is_content(chunk: Response) -> bool:
    """Return whether a chunk shows anything: text, thought or a tool call, not just a role."""
    if chunk.delta or chunk.additional_kwargs.get("thinking_delta"):
        return True
    if isinstance(chunk, CompletionResponse):
        return bool(chunk.text)
    message = chunk.message
    has_call = any(isinstance(block, ToolCallBlock) for block in message.blocks)
    return has_call or bool(message.additional_kwargs.get("tool_calls") or message.content)


def resume_by(prefill: Callable[[Any, str], Any] | None) -> Resume[Any]:
    """Return how another target goes on with a stream; without a prefill, by answering anew."""
    return Resume(_shown_text, _with_text, prefill, keeps_rest=True)


def _shown_text(chunk: Response) -> str | None:
    """Return the text that a chunk adds to the answer; None if it adds anything else."""
    if isinstance(chunk, CompletionResponse):
        return chunk.delta if chunk.text else ""
    message = chunk.message
    if message.additional_kwargs.get("tool_calls") or not all(map(_is_text, message.blocks)):
        return None
    return chunk.delta if message.content else ""


def _is_text(block: object) -> bool:
    return isinstance(block, TextBlock | ThinkingBlock)


def _with_text(chunk: Response, text: str, whole: str) -> Response:
    """Return a chunk with other text, new and in all."""
    if isinstance(chunk, CompletionResponse):
        return chunk.model_copy(update={"delta": text, "text": whole})
    others = [block for block in chunk.message.blocks if not isinstance(block, TextBlock)]
    blocks = [*others, TextBlock(text=whole)]
    message = chunk.message.model_copy(update={"blocks": blocks})
    return chunk.model_copy(update={"delta": text, "message": message})


def finished(chunks: Iterable[R], client: object) -> Iterator[R]:
    """Yield the chunks of a client's stream.

    Raises:
        BrokenStreamError: it ended without the finish that the client's protocol always has.
    """
    end = _End(client)
    for chunk in chunks:
        end.look_at(chunk)
        yield chunk
    end.check()


async def afinished(opening: Awaitable[AsyncGenerator[R]], client: object) -> AsyncGenerator[R]:
    """Open an async stream; then do what ``finished`` does."""
    return _afinished(await opening, _End(client))


async def _afinished(chunks: AsyncGenerator[R], end: _End) -> AsyncGenerator[R]:
    async with aclosing(chunks):
        async for chunk in chunks:
            end.look_at(chunk)
            yield chunk
    end.check()


class _End:
    """Looks out for the finish of a stream in OpenAI's protocol; other ones have no sure sign."""

    def __init__(self, client: object) -> None:
        classes = type(client).__mro__
        self._is_missing = any(cls.__module__ == _OPENAI for cls in classes)

    def look_at(self, chunk: Response) -> None:
        choices: list[Any] = getattr(chunk.raw, "choices", None) or []
        if any(choice.finish_reason for choice in choices):
            self._is_missing = False

    def check(self) -> None:
        if self._is_missing:
            message = "the stream ended without a finish reason"
            raise BrokenStreamError(message)
