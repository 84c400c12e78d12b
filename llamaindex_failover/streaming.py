"""What counts as content of a LlamaIndex stream, and as its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse, ToolCallBlock

from failover_core import BrokenStreamError

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


async def afinished(chunks: AsyncGenerator[R], client: object) -> AsyncGenerator[R]:
    """Do what ``finished`` does."""
    end = _End(client)
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
