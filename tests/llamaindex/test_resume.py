"""An LLM's broken stream that goes on at another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.custom import CustomLLM
from pydantic import Field

from failover_core import BrokenStreamError, Target
from failover_core.testing import FaultServer
from failover_core.testing.faults import (
    Fault,
    MalformedChunk,
    Status,
    StreamEnd,
    StreamError,
    StreamHang,
    StreamReset,
)
from llamaindex_failover import FailoverLLM
from llamaindex_failover.streaming import resume_by
from tests.llamaindex.tools import Weather

Servers = tuple[FaultServer, FaultServer]
MakeLLM = Callable[..., FailoverLLM]

QUESTION = "Who mends the torn net of the old man?"
ANSWER = f"You said: {QUESTION}"
BROKEN = ConnectionResetError("reset")
RESUME = {"on_broken_stream": "resume"}


def name_of(fault: Fault) -> str:
    return type(fault).__name__


class Streaming(CustomLLM):
    """Streams the deltas it is given, and raises the errors among them."""

    deltas: list[Any]
    asked: list[Any] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="streaming", is_chat_model=True)

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - LlamaIndex's signature
        raise NotImplementedError

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:  # noqa: FBT001, FBT002 - LlamaIndex's signature
        self.asked.append(prompt)
        text = ""
        for delta in self.deltas:
            if isinstance(delta, Exception):
                raise delta
            text += delta
            yield CompletionResponse(text=text, delta=delta)

    def stream_chat(self, messages: Any, **_: Any) -> Any:
        for chunk in self.stream_complete(list(messages)):  # type: ignore[arg-type]
            message = ChatMessage(chunk.text, role=MessageRole.ASSISTANT)
            yield ChatResponse(message=message, delta=chunk.delta)

    async def astream_chat(self, messages: Any, **_: Any) -> Any:
        async def chunks() -> Any:
            for chunk in self.stream_chat(messages):
                yield chunk

        return chunks()


async def _stream_chat(llm: FailoverLLM, text: str) -> list[Any]:
    return list(llm.stream_chat([ChatMessage(text)]))


async def _astream_chat(llm: FailoverLLM, text: str) -> list[Any]:
    return [chunk async for chunk in await llm.astream_chat([ChatMessage(text)])]


async def _stream_complete(llm: FailoverLLM, text: str) -> list[Any]:
    return list(llm.stream_complete(text))


async def _astream_complete(llm: FailoverLLM, text: str) -> list[Any]:
    return [chunk async for chunk in await llm.astream_complete(text)]


Take = Callable[[FailoverLLM, str], Awaitable[list[Any]]]
CHATS: list[Take] = [_stream_chat, _astream_chat]
STREAMS: list[Take] = [*CHATS, _stream_complete, _astream_complete]

each_chat = pytest.mark.parametrize("take", CHATS)
each_stream = pytest.mark.parametrize("take", STREAMS)


def whole(chunks: list[Any]) -> str:
    """Return the text, which is the same by the new parts and by the whole, at each chunk."""
    text = ""
    for chunk in chunks:
        text += chunk.delta or ""
        shown = chunk.message.content if isinstance(chunk, ChatResponse) else chunk.text
        assert (shown or "") == text
    return text


@each_stream
@pytest.mark.parametrize(
    "fault", [StreamReset(3), StreamEnd(3), StreamError(3), MalformedChunk(3)], ids=name_of
)
async def test_a_stream_goes_on_at_the_next_server(
    servers: Servers, llm_over: MakeLLM, take: Take, fault: Fault
) -> None:
    servers[0].fault = fault
    llm = llm_over(servers, policy=RESUME)

    chunks = await take(llm, QUESTION)

    assert whole(chunks) == ANSWER
    first, last = (chunks[at].additional_kwargs["failover"] for at in (0, -1))
    names = [target.name for target in llm.router.targets]
    assert (first["target"], first["failed_over"]) == (names[0], False)
    assert (last["target"], last["failed_over"]) == (names[1], True)
    assert [error["target"] for error in last["errors"]] == [names[0]]


@each_stream
async def test_silence_in_a_stream_is_resumed_too(
    servers: Servers, llm_over: MakeLLM, take: Take
) -> None:
    servers[0].fault = StreamHang(3)

    chunks = await take(llm_over(servers, policy={**RESUME, "idle_timeout": 0.3}), QUESTION)

    assert whole(chunks) == ANSWER


@each_stream
@pytest.mark.parametrize("second", [Status(400), StreamReset(1)], ids=name_of)
async def test_the_original_break_is_raised_when_the_second_server_cannot_go_on(
    servers: Servers, llm_over: MakeLLM, take: Take, second: Fault
) -> None:
    servers[0].fault, servers[1].fault = StreamEnd(3), second

    with pytest.raises(BrokenStreamError, match="without a finish reason"):
        await take(llm_over(servers, policy=RESUME), QUESTION)

    assert len(servers[1].requests) == 1


@each_chat
async def test_another_answer_is_never_mixed_in(take: Take) -> None:
    llms = [Streaming(deltas=["a lie", BROKEN]), Streaming(deltas=["the truth"])]

    with pytest.raises(ConnectionResetError) as caught:
        await take(FailoverLLM(targets=llms, policy=RESUME), "Hello")

    assert caught.value is BROKEN


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_tool_call_that_broke_is_made_at_the_next_server(
    servers: Servers, llm_over: MakeLLM, *, is_async: bool
) -> None:
    servers[0].fault = StreamReset(1)
    llm, weather = llm_over(servers, policy=RESUME), Weather().tool

    if is_async:
        asked = await llm.astream_chat_with_tools([weather], "The weather in 'Oslo'?")
        chunks = [chunk async for chunk in asked]
    else:
        chunks = list(llm.stream_chat_with_tools([weather], "The weather in 'Oslo'?"))

    calls = llm.get_tool_calls_from_response(chunks[-1])
    assert [call.tool_kwargs for call in calls] == [{"city": "Oslo"}]
    assert chunks[-1].additional_kwargs["failover"]["failed_over"]


@each_chat
async def test_an_llm_that_can_prefill_is_given_the_beginning(take: Take) -> None:
    second = Streaming(deltas=[" is", " blue."])
    targets = [Streaming(deltas=["The sky ", BROKEN]), Target(second, supports={"prefill"})]

    chunks = await take(FailoverLLM(targets=targets, policy=RESUME), "What is blue?")

    assert whole(chunks) == "The sky is blue."
    asked = [(message.role, message.content) for message in second.asked[0]]
    assert asked == [(MessageRole.USER, "What is blue?"), (MessageRole.ASSISTANT, "The sky")]


@each_chat
async def test_without_the_policy_the_break_is_raised(take: Take) -> None:
    second = Streaming(deltas=["fine"])

    with pytest.raises(ConnectionResetError):
        await take(FailoverLLM(targets=[Streaming(deltas=["fi", BROKEN]), second]), "Hello")

    assert second.asked == []


@pytest.mark.parametrize(
    ("blocks", "delta", "text"),
    [
        ([TextBlock(text="a")], "a", "a"),
        ([], None, ""),
        ([ThinkingBlock(content="hm")], "", ""),
        ([TextBlock(text="a")], None, None),
        ([TextBlock(text="a"), ToolCallBlock(tool_name="f", tool_kwargs={})], "", None),
    ],
)
def test_only_text_can_be_resumed(blocks: list[Any], delta: str | None, text: str | None) -> None:
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
    shown = resume_by(None).text(ChatResponse(message=message, delta=delta))
    assert shown == text


def test_a_chunk_with_other_text_keeps_its_thoughts() -> None:
    thought = ThinkingBlock(content="hm")
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[thought, TextBlock(text="one")])
    cut = resume_by(None).cut(ChatResponse(message=message, delta="one"), "e", "three")
    assert cut.message.blocks == [thought, TextBlock(text="three")]
    assert (cut.delta, message.content) == ("e", "one")
