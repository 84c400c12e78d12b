"""What counts as content of a LlamaIndex stream, and as its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatResponse,
    CompletionResponse,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import LLM

from failover_core.finishing import AsyncWatched, Watched
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


def tells_usage(raw: Any) -> bool:
    """Return whether what came from a server tells how many tokens were used."""
    if isinstance(raw, dict):
        return bool(raw.get("usage") or raw.get("usage_metadata"))
    # To look for what an OpenAI chunk does not have takes longer than all else that is done to it.
    return bool(raw.usage if hasattr(raw, "usage") else getattr(raw, "usage_metadata", None))


def finished(chunks: Iterable[R], client: LLM) -> Iterable[R]:
    """Return the chunks of a client's stream, watched if its protocol always has a finish."""
    return Watched(chunks, is_finish) if has_finish(client) else chunks


async def afinished(opening: Awaitable[AsyncGenerator[R]], client: LLM) -> AsyncIterable[R]:
    """Open an async stream; then do what ``finished`` does."""
    chunks = await opening
    return AsyncWatched(chunks, is_finish) if has_finish(client) else chunks


def has_finish(client: LLM) -> bool:
    """Return whether a client's streams give a reason at their end: OpenAI's protocol does."""
    return _speaks_openai(type(client))


@lru_cache(maxsize=256)
def _speaks_openai(kind: type[LLM]) -> bool:
    return any(base.__module__ == _OPENAI for base in kind.__mro__)


def is_finish(chunk: Response) -> bool:
    """Return whether a chunk in OpenAI's protocol gives that reason."""
    choices: list[Any] = getattr(chunk.raw, "choices", None) or []
    return any(choice.finish_reason for choice in choices)
