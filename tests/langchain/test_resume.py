"""A chat model's broken stream that goes on at another one."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk
from langchain_core.outputs import ChatGenerationChunk

from failover_core import BrokenStreamError, ConfigurationError, Target
from failover_core.testing import FaultServer, faults
from failover_core.testing.faults import Fault
from langchain_failover import FailoverChatModel
from langchain_failover.splicing import shown_text, with_text
from tests.langchain.children import Runs, Streaming, Told, openai_child
from tests.langchain.conftest import Door

BROKEN = ConnectionResetError("reset")
QUESTION = "one two three four five six"
ANSWER = f"You said: {QUESTION}"
RESUME = {"on_broken_stream": "resume"}

both_streams = pytest.mark.parametrize("how", ["stream", "astream"])


def resuming(*targets: Any) -> FailoverChatModel:
    return FailoverChatModel(targets=list(targets), policy=RESUME)


@pytest.mark.parametrize(
    "fault",
    [
        faults.StreamReset(after_chunks=3),
        faults.StreamEnd(after_chunks=3),
        faults.StreamError(after_chunks=3),
        faults.MalformedChunk(after_chunks=3),
    ],
    ids=lambda fault: fault.name(),
)
@both_streams
async def test_a_stream_goes_on_at_the_next_server(
    fault: Fault, how: str, servers: tuple[FaultServer, FaultServer], doors: dict[str, Door]
) -> None:
    servers[0].fault = fault
    chat = FailoverChatModel.from_urls(
        [f"{server.url}/v1" for server in servers], model="tiny", policy=RESUME
    )
    runs = Runs()

    answer = await doors[how](chat, QUESTION, config={"callbacks": [runs]})

    assert answer.content == ANSWER
    assert answer.response_metadata["finish_reason"] == "stop"
    report = answer.response_metadata["failover"]
    assert (report["target"], report["failed_over"]) == (chat.router.targets[1].name, True)
    assert [error["target"] for error in report["errors"]] == [chat.router.targets[0].name]
    assert answer.usage_metadata["total_tokens"] == (
        answer.usage_metadata["input_tokens"] + answer.usage_metadata["output_tokens"]
    )
    assert runs.input_tokens == answer.usage_metadata["input_tokens"] > 0
    assert "".join(runs.tokens) == ANSWER
    assert (len(runs.started), len(runs.ended), runs.failed) == (1, 1, [])


@both_streams
async def test_silence_in_a_stream_is_resumed_too(
    how: str, servers: tuple[FaultServer, FaultServer], doors: dict[str, Door]
) -> None:
    servers[0].fault = faults.StreamHang(after_chunks=3)
    chat = FailoverChatModel(
        targets=[openai_child(server) for server in servers],
        policy={**RESUME, "idle_timeout": 0.3},
    )

    assert (await doors[how](chat, QUESTION)).content == ANSWER


@both_streams
@pytest.mark.parametrize(
    "second", [faults.Status(400), faults.StreamReset(after_chunks=1)], ids=["400", "reset"]
)
async def test_the_original_break_is_raised_when_the_second_server_cannot_go_on(
    second: Fault, how: str, servers: tuple[FaultServer, FaultServer], doors: dict[str, Door]
) -> None:
    servers[0].fault, servers[1].fault = faults.StreamEnd(after_chunks=3), second
    chat = FailoverChatModel.from_urls(
        [f"{server.url}/v1" for server in servers], model="tiny", policy=RESUME
    )

    with pytest.raises(BrokenStreamError, match="without a finish reason"):
        await doors[how](chat, QUESTION)

    assert len(servers[1].requests) == 1


@both_streams
async def test_another_answer_is_never_mixed_in(how: str, doors: dict[str, Door]) -> None:
    chat = resuming(Streaming(chunks=["a lie", BROKEN]), Told(answer="the truth"))

    with pytest.raises(ConnectionResetError) as caught:
        await doors[how](chat, "Hello")

    assert caught.value is BROKEN


@both_streams
async def test_a_model_that_can_prefill_is_given_the_beginning(
    how: str, doors: dict[str, Door]
) -> None:
    second = Streaming(chunks=[" is", " blue."])
    chat = resuming(
        Streaming(chunks=["The sky ", BROKEN]), Target(second, supports={"prefill"}, name="b")
    )

    answer = await doors[how](chat, "What is blue?")

    assert answer.content == "The sky is blue."
    assert second.asked[0]["messages"][-1] == AIMessage("The sky")


@both_streams
async def test_an_answer_in_a_schema_is_never_prefilled(how: str, doors: dict[str, Door]) -> None:
    second = Streaming(chunks=['{"a":', " 1}"])
    chat = resuming(
        Streaming(chunks=['{"a', BROKEN]), Target(second, supports={"prefill"}, name="b")
    )

    answer = await doors[how](chat.bind(response_format={"type": "json_object"}), "Hello")

    assert answer.content == '{"a": 1}'
    assert len(second.asked[0]["messages"]) == 1


def call_of(args: str, *, position: Literal["last"] | None = None) -> AIMessageChunk:
    part = ToolCallChunk(name="f", args=args, id="1", index=0)
    return AIMessageChunk(content="", tool_call_chunks=[part], chunk_position=position)


@both_streams
async def test_a_tool_call_that_broke_is_made_by_the_next_model(
    how: str, doors: dict[str, Door]
) -> None:
    first = Streaming(chunks=["Let me", call_of('{"a": '), BROKEN])
    second = Streaming(chunks=["Let me", " see", call_of('{"b": 2}', position="last")])

    answer = await doors[how](resuming(first, second), "Hello")

    assert answer.content == "Let me see"
    assert [call["args"] for call in answer.tool_calls] == [{"b": 2}]


@both_streams
async def test_the_break_of_a_tool_call_is_raised_when_the_next_model_says_something_else(
    how: str, doors: dict[str, Door]
) -> None:
    first = Streaming(chunks=["Let me", call_of("{"), BROKEN])

    with pytest.raises(ConnectionResetError):
        await doors[how](resuming(first, Streaming(chunks=[call_of("{}")])), "Hello")


@both_streams
async def test_a_resumed_message_keeps_its_id(how: str, doors: dict[str, Door]) -> None:
    first, second = (AIMessageChunk(content="fi", id="one"), AIMessageChunk(content="fine", id="2"))
    chat = resuming(Streaming(chunks=[first, BROKEN]), Streaming(chunks=[second]))

    answer = await doors[how](chat, "Hello")

    assert (answer.content, answer.id) == ("fine", "one")


@both_streams
async def test_without_the_policy_the_break_is_raised(how: str, doors: dict[str, Door]) -> None:
    second = Streaming()
    chat = FailoverChatModel(targets=[Streaming(chunks=["fi", BROKEN]), second])

    with pytest.raises(ConnectionResetError):
        await doors[how](chat, "Hello")

    assert second.asked == []


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ([], ""),
        (["a", {"type": "text", "text": "b", "index": 0}], "ab"),
        ([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "b"}], "b"),
        ([{"type": "text", "index": 0}], ""),
        ([{"type": "text", "text": "b"}, {"type": "image", "url": "x"}], None),
    ],
)
def test_the_text_of_a_chunk_is_that_of_its_blocks(content: Any, text: str | None) -> None:
    chunk = ChatGenerationChunk(message=AIMessageChunk(content=content))
    assert shown_text(chunk) == text


def test_a_chunk_with_another_text_keeps_its_other_blocks_and_its_metadata() -> None:
    blocks: list[Any] = [
        {"type": "reasoning", "reasoning": "hm"},
        {"type": "text", "text": "one", "index": 1},
        {"type": "text", "text": " two", "index": 2},
    ]
    message = AIMessageChunk(content=blocks, response_metadata={"model": "m"})
    chunk = ChatGenerationChunk(message=message, generation_info={"finish_reason": "stop"})

    cut = with_text(chunk, "o", "two")

    assert cut.message.content == [blocks[0], {"type": "text", "text": "o", "index": 1}]
    assert cut.text == "o"
    assert (cut.message.response_metadata, cut.generation_info) == (
        {"model": "m"},
        {"finish_reason": "stop"},
    )
    assert with_text(chunk, "", "").message.content == [blocks[0]]


def test_an_unknown_word_for_a_break_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="on_broken_stream"):
        FailoverChatModel(targets=[Told()], policy={"on_broken_stream": "again"})
