"""Answers of a chat model: who gave them, which chunks have content, how a stream ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.targets import Target

REPORT = "failover"
"""Key of ``response_metadata`` under which the answer says who served it."""

_LABELS = {"type", "index", "id"}
_ENDS_WITH_REASON = "BaseChatOpenAI"
_REASONS = ("finish_reason", "stop_reason", "done_reason", "status")


def is_content(chunk: ChatGenerationChunk) -> bool:
    """Return whether a chunk says something: text, a tool call, reasoning.

    A role alone, an empty text, a finish reason and the usage do not.
    """
    message = chunk.message
    if message.content and _has_words(message.content):
        return True
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        return True
    return any(message.additional_kwargs.values())


def _has_words(content: str | list[str | dict[str, Any]]) -> bool:
    return isinstance(content, str) or any(map(_says_something, content))


def _says_something(block: str | dict[str, Any]) -> bool:
    if isinstance(block, str):
        return bool(block)
    return any(value for name, value in block.items() if name not in _LABELS)


@lru_cache(maxsize=256)
def has_finish(kind: type[BaseChatModel]) -> bool:
    """Return whether streams of a kind of model give a reason; OpenAI's protocol is known to."""
    # By name: langchain-openai may not be installed, and dozens of integrations build on it.
    return any(base.__name__ == _ENDS_WITH_REASON for base in kind.__mro__)


def gives_reason(chunk: ChatGenerationChunk) -> bool:
    """Return whether a chunk gives it."""
    if getattr(chunk.message, "chunk_position", None) == "last":
        return True
    info = chunk.generation_info or {}
    metadata = chunk.message.response_metadata
    return any(info.get(name) or metadata.get(name) for name in _REASONS)


def charge(call: Call, result: ChatResult, by: Attempt) -> None:
    """Charge the target of an attempt for the tokens of a whole answer."""
    for generation in result.generations:
        if usage := getattr(generation.message, "usage_metadata", None):
            _charge(call, usage, by)


def signed(result: ChatResult, call: Call, by: Target | None = None) -> ChatResult:
    """Return a whole answer that says who served it.

    Args:
        result: the answer.
        call: that it answers.
        by: who gave it, if the call did not take it for an answer.
    """
    report = call.report if by is None else {**call.report, "target": by.name, "model": by.model}
    for generation in result.generations:
        generation.message.response_metadata[REPORT] = report
    return result


def _charge(call: Call, usage: UsageMetadata, by: Attempt | None = None) -> None:
    if not _is_cached(usage):
        call.used(usage["input_tokens"], usage["output_tokens"], by=by)


def _is_cached(usage: Mapping[str, Any]) -> bool:
    # So LangChain marks what a cache answered.
    return usage.get("total_cost") == 0


class Signature:
    """Puts the report of a call on the last chunk of its stream, and on no other.

    LangChain merges the metadata of chunks by concatenation, so a report on two chunks would
    merge into nonsense. Where the stream does not mark its last chunk, an empty one is added.

    Args:
        call: that the stream answers.
        may_resume: whether another target may go on with the stream.
    """

    __slots__ = ("_call", "_is_signed", "_latest", "_may_resume")

    def __init__(self, call: Call, *, may_resume: bool) -> None:
        self._call = call
        self._may_resume = may_resume
        self._latest: BaseMessage | None = None
        self._is_signed = False

    def on(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Return a chunk to pass on, signed if it is the last."""
        message = chunk.message
        if self._may_resume and self._call.is_resuming and self._latest is not None:
            # A message is known by its id, and this is still the same one.
            message.id = self._latest.id
        self._latest = message
        if isinstance(message, AIMessageChunk):
            if message.usage_metadata:
                _charge(self._call, message.usage_metadata)
            if message.chunk_position and not self._is_signed:
                message.response_metadata[REPORT] = self._call.report
                self._is_signed = True
        return chunk

    def end(self) -> Iterable[ChatGenerationChunk]:
        """Return the chunk to add at the end, if the stream did not mark its last one."""
        if self._is_signed:
            return ()
        latest = self._latest or AIMessageChunk(content="")
        message = AIMessageChunk(
            content="" if isinstance(latest.content, str) else [],
            id=latest.id,
            response_metadata={REPORT: self._call.report},
            chunk_position="last",
        )
        return (ChatGenerationChunk(message=message),)
