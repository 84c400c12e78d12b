"""The eight ways to ask an LLM of LlamaIndex, as one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.llm import LLM


@dataclass(frozen=True)
class Told:
    """What came out of a door: the whole text, and who served."""

    text: str
    report: dict[str, Any]


async def _complete(llm: LLM, text: str, **options: Any) -> Told:
    return _told([llm.complete(text, **options)])


async def _acomplete(llm: LLM, text: str, **options: Any) -> Told:
    return _told([await llm.acomplete(text, **options)])


async def _stream_complete(llm: LLM, text: str, **options: Any) -> Told:
    return _told(list(llm.stream_complete(text, **options)))


async def _astream_complete(llm: LLM, text: str, **options: Any) -> Told:
    return _told([chunk async for chunk in await llm.astream_complete(text, **options)])


async def _chat(llm: LLM, text: str, **options: Any) -> Told:
    return _told([llm.chat([ChatMessage(text)], **options)])


async def _achat(llm: LLM, text: str, **options: Any) -> Told:
    return _told([await llm.achat([ChatMessage(text)], **options)])


async def _stream_chat(llm: LLM, text: str, **options: Any) -> Told:
    return _told(list(llm.stream_chat([ChatMessage(text)], **options)))


async def _astream_chat(llm: LLM, text: str, **options: Any) -> Told:
    return _told([chunk async for chunk in await llm.astream_chat([ChatMessage(text)], **options)])


Door = Callable[..., Awaitable[Told]]

WHOLE: dict[str, Door] = {
    "complete": _complete,
    "acomplete": _acomplete,
    "chat": _chat,
    "achat": _achat,
}
STREAMS: dict[str, Door] = {
    "stream_complete": _stream_complete,
    "astream_complete": _astream_complete,
    "stream_chat": _stream_chat,
    "astream_chat": _astream_chat,
}
DOORS = WHOLE | STREAMS


def _told(chunks: list[Any]) -> Told:
    """Join the chunks, each of which must say the same of who served."""
    reports = [chunk.additional_kwargs["failover"] for chunk in chunks]
    assert all(report == reports[0] for report in reports)
    last = chunks[-1]
    whole = last.message.content if isinstance(last, ChatResponse) else last.text
    if len(chunks) > 1:
        assert whole == "".join(chunk.delta or "" for chunk in chunks)
    return Told(whole or "", reports[0])
