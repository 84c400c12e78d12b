"""What tracers, token counters and stream readers see of a call."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig

from failover_core.errors import AllTargetsFailedError
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel
from tests.langchain.children import Runs, Streaming, Told
from tests.langchain.conftest import Door

FAILOVER = "failover"


async def test_a_call_is_one_run_and_its_tokens_count_once_after_a_failover(
    door: Door, chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    servers[0].stop()
    runs = Runs()

    await door(chat, "four words of input", RunnableConfig(callbacks=[runs]))

    assert [kind for kind, *_ in runs.started] == ["llm"]
    assert len(runs.ended) == 1
    assert not runs.failed
    assert runs.input_tokens == 4


async def test_the_run_belongs_to_the_chain_that_called(
    door: Door, chat: FailoverChatModel
) -> None:
    runs = Runs()
    chain = ChatPromptTemplate.from_template("Say {word}") | chat

    await door(chain, {"word": "hello"}, RunnableConfig(callbacks=[runs]))

    ((_, _, parent),) = runs.started
    assert parent is not None


async def test_a_call_that_failed_everywhere_ends_its_run(
    door: Door, chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    for server in servers:
        server.stop()
    runs = Runs()

    with pytest.raises(AllTargetsFailedError):
        await door(chat, "Hello", RunnableConfig(callbacks=[runs]))

    assert [type(error) for error in runs.failed] == [AllTargetsFailedError]


async def test_tokens_of_a_failed_attempt_reach_no_handler(chat: FailoverChatModel) -> None:
    runs = Runs()
    broken = Streaming(chunks=["", ConnectionError()])
    model = FailoverChatModel(targets=[broken, Streaming(chunks=["a", "b"])])

    list(model.stream("Hello", RunnableConfig(callbacks=[runs])))

    assert "".join(runs.tokens) == "ab"


@pytest.mark.parametrize("is_async", [False, True])
async def test_one_chunk_of_a_stream_carries_the_report_and_it_is_the_last(
    is_async: bool,  # noqa: FBT001
    chat: FailoverChatModel,
) -> None:
    if is_async:
        chunks = [chunk async for chunk in chat.astream("Tell me more")]
    else:
        chunks = list(chat.stream("Tell me more"))

    signed = [chunk for chunk in chunks if FAILOVER in chunk.response_metadata]
    assert signed == [chunks[-1]]
    assert [chunk.chunk_position for chunk in chunks if chunk.chunk_position] == ["last"]
    merged = sum(chunks[1:], chunks[0])
    assert merged.response_metadata[FAILOVER] == signed[0].response_metadata[FAILOVER]
    assert len([chunk for chunk in chunks if chunk.usage_metadata]) == 1
    assert len({chunk.id for chunk in chunks if chunk.content}) == 1


def test_a_stream_that_marks_its_last_chunk_itself_gets_no_other() -> None:
    last = AIMessageChunk(content="!", chunk_position="last")
    model = FailoverChatModel(targets=[Streaming(chunks=["so", last])])

    chunks = list(model.stream("Hello"))

    assert [chunk.content for chunk in chunks] == ["so", "!"]
    assert chunks[-1].response_metadata[FAILOVER]["target"] == "told"


def test_the_added_chunk_belongs_to_the_message_of_the_others() -> None:
    model = FailoverChatModel(targets=[Streaming(chunks=[AIMessageChunk(content="so", id="7")])])

    assert [chunk.id for chunk in model.stream("Hello")] == ["7", "7"]


async def test_a_pool_inside_a_pool_is_one_target_and_leaves_one_report(door: Door) -> None:
    inner = FailoverChatModel(
        targets=[Streaming(answer=ConnectionError(), chunks=[OSError()]), Streaming()]
    )
    outer = FailoverChatModel(targets=[inner])

    answer = await door(outer, "Hello")

    assert answer.content == "fine"
    assert answer.response_metadata[FAILOVER]["attempts"] == 1


async def test_astream_events_streams_and_names_who_served(
    chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    servers[0].stop()

    events = [event async for event in chat.astream_events("Hello out there", version="v2")]

    kinds = [event["event"] for event in events]
    assert kinds.count("on_chat_model_start") == kinds.count("on_chat_model_end") == 1
    assert kinds.count("on_chat_model_stream") > 3
    output: Any = events[-1]["data"]["output"]
    assert output.response_metadata[FAILOVER]["failed_over"]


async def test_a_chain_under_astream_events_streams_through_invoke(
    chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    servers[0].fault = faults.StreamReset(after_chunks=0)
    chain = ChatPromptTemplate.from_template("Say {word}") | chat | (lambda message: message.text)

    events = [event async for event in chain.astream_events({"word": "hi"}, version="v2")]

    assert [e["event"] for e in events].count("on_chat_model_end") == 1
    assert events[-1]["data"]["output"] == "You said: Say hi"


def test_a_cached_answer_still_names_who_gave_it(chat: FailoverChatModel) -> None:
    from langchain_core.caches import InMemoryCache  # noqa: PLC0415

    model = chat.model_copy(update={"cache": InMemoryCache()})

    first, second = model.invoke("Hello"), model.invoke("Hello")

    assert second.response_metadata[FAILOVER] == first.response_metadata[FAILOVER]
    assert chat.router.status().succeeded == 1


def test_an_interrupt_of_the_graph_passes_untouched() -> None:
    from langgraph.errors import GraphInterrupt  # noqa: PLC0415

    interrupt = GraphInterrupt(())
    second = Told()
    model = FailoverChatModel(targets=[Told(answer=interrupt), second])

    with pytest.raises(GraphInterrupt) as caught:
        model.invoke("Hello")

    assert caught.value is interrupt
    assert not getattr(interrupt, "__notes__", [])
    assert not second.asked
    assert model.router.status().targets[0].failures == 0
