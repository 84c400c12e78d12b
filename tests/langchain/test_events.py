"""Events of a pool are those of the child that serves, and its report, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig

from failover_core import BrokenStreamError
from failover_core.testing import FaultServer, faults
from langchain_failover import AllTargetsFailedError, FailoverChatModel
from tests.langchain.agents import SUM, Adder, names_of, pool_over
from tests.langchain.children import Runs, Streaming, Told
from tests.langchain.conftest import Door
from tests.langchain.recorded import (
    ANSWER,
    QUESTION,
    V3_IS_BETA,
    av3,
    plain,
    primaries,
    reports_in,
    tree,
    v2,
    v3,
)

Servers = tuple[FaultServer, FaultServer]

pytestmark = V3_IS_BETA


@primaries
@pytest.mark.parametrize("events_of", [v2, v3, av3])
async def test_a_pool_has_the_events_of_the_child_that_serves_and_a_report(
    events_of: Any, fault: Any, resuming: FailoverChatModel, bare: BaseChatModel, servers: Servers
) -> None:
    theirs = await events_of(bare, QUESTION)
    servers[0].fault = fault

    ours = await events_of(resuming, QUESTION)

    assert [event["event"] for event in ours] == [event["event"] for event in theirs]
    assert plain(ours) == plain(theirs)
    streamed = [one for one in ours if one["event"] != "on_chat_model_end"]
    (report,) = reports_in(streamed)
    assert report["target"] == names_of(resuming)[fault is not None]
    assert report["failed_over"] is (fault is not None)


@pytest.mark.parametrize("events_of", [v2, v3, av3])
async def test_a_child_without_a_stream_has_the_events_of_one_chunk(events_of: Any) -> None:
    model = FailoverChatModel(targets=[Told(answer=ConnectionError()), Told(answer="whole")])

    events = await events_of(model, "Hello")

    assert len(list(reports_in(events[:-1]))) == (events_of is v2)
    assert len(list(reports_in(events[-1]))) == 1
    assert "whole" in repr(events[-2])


@primaries
async def test_a_typed_stream_gives_text_usage_and_message(
    fault: Any, resuming: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = fault
    runs = Runs()

    stream: Any = resuming.stream_events(QUESTION, RunnableConfig(callbacks=[runs]), version="v3")
    words = list(stream.text)

    assert "".join(words) == stream.output.text == ANSWER
    assert len(words) > 3
    assert stream.output.response_metadata["failover"]["failed_over"] is (fault is not None)
    assert stream.output.usage_metadata["input_tokens"] == 5
    assert runs.input_tokens == 5
    assert (len(runs.started), len(runs.ended), runs.failed) == (1, 1, [])


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_typed_stream_hands_on_tool_calls(
    is_async: bool,  # noqa: FBT001
    resuming: FailoverChatModel,
    servers: Servers,
) -> None:
    servers[0].stop()
    bound: Any = resuming.bind_tools([Adder().tool])

    if is_async:
        output = await (await bound.astream_events(SUM, version="v3"))
    else:
        output = bound.stream_events(SUM, version="v3").output

    assert [call["args"] for call in output.tool_calls] == [{"first": 3, "second": 4}]


async def test_a_typed_stream_ends_its_run_when_nobody_answers(
    resuming: FailoverChatModel, servers: Servers
) -> None:
    for server in servers:
        server.fault = faults.Status(500)
    errors: asyncio.Queue[BaseException] = asyncio.Queue()

    class Failed(AsyncCallbackHandler):
        async def on_llm_error(self, error: BaseException, **_: Any) -> None:
            await errors.put(error)

    stream = await resuming.astream_events(QUESTION, {"callbacks": [Failed()]}, version="v3")
    with pytest.raises(AllTargetsFailedError) as caught:
        await stream

    assert await errors.get() is caught.value


async def test_a_typed_stream_raises_a_break_that_is_not_resumed(servers: Servers) -> None:
    chat = pool_over(servers)
    servers[0].fault = faults.StreamEnd(after_chunks=3)
    stream: Any = chat.stream_events(QUESTION, version="v3")

    words: list[str] = []
    with pytest.raises(BrokenStreamError):
        words.extend(stream.text)

    assert not servers[1].requests
    assert chat.router.status().targets[0].in_flight == 0


@primaries
async def test_a_chain_has_the_events_that_it_has_over_the_child(
    fault: Any, resuming: FailoverChatModel, bare: BaseChatModel, servers: Servers
) -> None:
    def chain(model: Any) -> Any:
        return ChatPromptTemplate.from_template("{words}") | model | StrOutputParser()

    theirs = await v2(chain(bare), {"words": QUESTION})
    servers[0].fault = fault

    ours = await v2(chain(resuming), {"words": QUESTION})

    assert plain(ours) == plain(theirs)
    assert tree(ours) == tree(theirs)


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_reader_who_goes_away_is_no_failure(is_async: bool) -> None:  # noqa: FBT001
    model = FailoverChatModel(targets=[Streaming(chunks=["a", "b", "c"])])

    if is_async:
        chunks = model.astream("Hello")
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
    else:
        stream = model.stream("Hello")
        next(stream)
        stream.close()  # type: ignore[attr-defined]

    status = model.router.status().targets[0]
    assert (status.failures, status.in_flight) == (0, 0)


@pytest.mark.parametrize("on_broken_stream", ["raise", "resume"])
@pytest.mark.parametrize("kind", [faults.StreamReset, faults.StreamError, faults.MalformedChunk])
@pytest.mark.parametrize("events_of", [v2, v3, av3])
async def test_an_answer_is_complete_with_its_finish_whatever_happens_then(
    events_of: Any, kind: Any, on_broken_stream: str, servers: Servers
) -> None:
    chat = pool_over(servers, on_broken_stream=on_broken_stream)
    words, finish = ANSWER.split(), 1
    servers[0].fault = kind(after_chunks=len(words) + finish)

    events = await events_of(chat, QUESTION)

    assert not servers[1].requests
    assert "'finish_reason': 'stop'" in repr(events[-1])
    assert chat.router.status().targets[0].failures == 0


class BudgetSpentError(Exception):
    """What a handler raises to stop a call."""


class Budget(Runs):
    raise_error = True

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        raise BudgetSpentError


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_a_handler_may_stop_a_stream_which_is_no_failure_of_the_target(
    how: str, doors: dict[str, Door], resuming: FailoverChatModel, servers: Servers
) -> None:
    with pytest.raises(BudgetSpentError):
        await doors[how](resuming, QUESTION, RunnableConfig(callbacks=[Budget()]))

    status = resuming.router.status()
    assert (status.failed, status.targets[0].failures, status.targets[0].in_flight) == (0, 0, 0)
    assert not servers[1].requests
