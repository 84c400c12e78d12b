"""The ways to ask an LLM of LlamaIndex, as one: for text, for tool calls, for objects."""

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


async def _chat_with_tools(llm: Any, tools: Any, text: str, **options: Any) -> ChatResponse:
    return llm.chat_with_tools(tools, text, **options)  # type: ignore[no-any-return]


async def _achat_with_tools(llm: Any, tools: Any, text: str, **options: Any) -> ChatResponse:
    return await llm.achat_with_tools(tools, text, **options)  # type: ignore[no-any-return]


async def _stream_with_tools(llm: Any, tools: Any, text: str, **options: Any) -> ChatResponse:
    return [*llm.stream_chat_with_tools(tools, text, **options)][-1]  # type: ignore[no-any-return]


async def _astream_with_tools(llm: Any, tools: Any, text: str, **options: Any) -> ChatResponse:
    opened = await llm.astream_chat_with_tools(tools, text, **options)
    return [chunk async for chunk in opened][-1]  # type: ignore[no-any-return]


ToolDoor = Callable[..., Awaitable[ChatResponse]]

TOOL_DOORS: dict[str, ToolDoor] = {
    "chat_with_tools": _chat_with_tools,
    "achat_with_tools": _achat_with_tools,
    "stream_chat_with_tools": _stream_with_tools,
    "astream_chat_with_tools": _astream_with_tools,
}


async def _predict(llm: Any, *asked: Any, **options: Any) -> Any:
    return llm.structured_predict(*asked, **options)


async def _apredict(llm: Any, *asked: Any, **options: Any) -> Any:
    return await llm.astructured_predict(*asked, **options)


async def _stream_predict(llm: Any, *asked: Any, **options: Any) -> Any:
    return [*llm.stream_structured_predict(*asked, **options)][-1]


async def _astream_predict(llm: Any, *asked: Any, **options: Any) -> Any:
    opened = await llm.astream_structured_predict(*asked, **options)
    return [item async for item in opened][-1]


PREDICTIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    "structured_predict": _predict,
    "astructured_predict": _apredict,
}
PREDICTION_STREAMS: dict[str, Callable[..., Awaitable[Any]]] = {
    "stream_structured_predict": _stream_predict,
    "astream_structured_predict": _astream_predict,
}
