"""Every way to ask the LLM has the same outcome, whatever happens to the preferred server."""

from __future__ import annotations

from collections.abc import Callable

import openai
import pytest
from llama_index.core.base.llms.types import ChatMessage

from failover_core import AllTargetsFailedError, BrokenStreamError, EventKind
from failover_core.testing import FaultServer
from failover_core.testing.faults import (
    ErrorInside200,
    Fault,
    Garbage,
    Hang,
    MalformedChunk,
    MissingDone,
    Refuse,
    Reset,
    RetryAfter,
    Status,
    StreamEnd,
    StreamError,
    StreamHang,
    StreamReset,
    Truncate,
)
from llamaindex_failover import FailoverLLM
from tests.llamaindex.doors import DOORS, STREAMS, WHOLE, Door

Servers = tuple[FaultServer, FaultServer]
MakeLLM = Callable[..., FailoverLLM]

QUESTION = "Who mends the net?"
ANSWER = "You said: Who mends the net?"

each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
each_stream = pytest.mark.parametrize("door", STREAMS.values(), ids=STREAMS)


def name_of(value: Fault | str) -> str:
    return type(value).__name__ if isinstance(value, Fault) else value


@each_door
async def test_the_preferred_server_answers_while_it_can(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    told = await door(llm_over(servers), QUESTION)

    assert told.text == ANSWER
    assert told.report == {
        "target": servers[0].url.removeprefix("http://"),
        "model": "m",
        "attempts": 1,
        "failed_over": False,
        "errors": [],
    }
    assert not servers[1].requests


@each_door
@pytest.mark.parametrize(
    ("fault", "error_class"),
    [
        (Refuse(), "connection"),
        (Reset(), "connection"),
        (Status(500), "server_error"),
        (Status(401), "auth"),
        (RetryAfter(2), "throttled"),
    ],
    ids=name_of,
)
async def test_the_next_server_answers_when_the_preferred_one_fails(
    servers: Servers, llm_over: MakeLLM, door: Door, fault: Fault, error_class: str
) -> None:
    servers[0].fault = fault

    told = await door(llm_over(servers), QUESTION)

    assert told.text == ANSWER
    assert told.report["target"] == servers[1].url.removeprefix("http://")
    assert (told.report["attempts"], told.report["failed_over"]) == (2, True)
    assert [error["error_class"] for error in told.report["errors"]] == [error_class]


@each_door
@pytest.mark.parametrize("fault", [Garbage(), ErrorInside200()], ids=name_of)
async def test_an_answer_that_is_none_is_not_passed_on(
    servers: Servers, llm_over: MakeLLM, door: Door, fault: Fault
) -> None:
    servers[0].fault = fault

    told = await door(llm_over(servers), QUESTION)

    assert told.text == ANSWER
    assert told.report["failed_over"]


@each_door
async def test_a_silent_server_has_its_time_and_no_more(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = Hang()

    told = await door(llm_over(servers, policy={"attempt_timeout": 1.0}), QUESTION)

    assert told.text == ANSWER
    assert [error["error_class"] for error in told.report["errors"]] == ["timeout"]


@pytest.mark.parametrize("door", WHOLE.values(), ids=WHOLE)
async def test_half_an_answer_is_not_passed_on(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = Truncate()

    told = await door(llm_over(servers), QUESTION)

    assert told.text == ANSWER
    assert told.report["failed_over"]


@each_stream
@pytest.mark.parametrize(
    "fault", [StreamEnd(0), StreamReset(0), StreamError(0), MalformedChunk(0)], ids=name_of
)
async def test_a_stream_that_breaks_before_its_first_content_moves_on(
    servers: Servers, llm_over: MakeLLM, door: Door, fault: Fault
) -> None:
    servers[0].fault = fault

    told = await door(llm_over(servers), QUESTION)

    assert told.text == ANSWER
    assert told.report["failed_over"]


@each_stream
@pytest.mark.parametrize("fault", [StreamEnd(2), StreamReset(2), StreamError(2)], ids=name_of)
async def test_a_break_after_content_is_raised_and_counts_against_the_server(
    servers: Servers, llm_over: MakeLLM, door: Door, fault: Fault
) -> None:
    servers[0].fault = fault
    llm = llm_over(servers)

    expected = BrokenStreamError if isinstance(fault, StreamEnd) else Exception
    with pytest.raises(expected):
        await door(llm, QUESTION)

    first = llm.router.targets[0].name
    assert llm.router.status()[str(first)].failures == 1
    assert not servers[1].requests


@each_stream
async def test_a_stream_without_done_after_its_finish_is_whole(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = MissingDone()

    told = await door(llm_over(servers), QUESTION)

    assert (told.text, told.report["failed_over"]) == (ANSWER, False)


@each_stream
@pytest.mark.parametrize("kind", [StreamHang, StreamReset, StreamError])
async def test_nothing_that_comes_after_the_finish_is_a_break(
    kind: Callable[[int], Fault], servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = kind(-2)  # right before [DONE]
    llm = llm_over(servers, policy={"idle_timeout": 0.3})

    told = await door(llm, QUESTION)

    assert (told.text, told.report["failed_over"]) == (ANSWER, False)
    first = llm.router.status().targets[0]
    assert (first.requests, first.failures) == (1, 0)
    assert not servers[1].requests


@each_door
async def test_an_empty_answer_is_an_answer(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    told = await door(llm_over(servers), QUESTION, stop=["You"])

    assert (told.text, told.report["failed_over"]) == ("", False)


@each_door
async def test_a_bad_request_is_raised_as_it_is_and_asked_nowhere_else(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = Status(400)
    llm = llm_over(servers)

    with pytest.raises(openai.BadRequestError):
        await door(llm, QUESTION)

    assert not servers[1].requests
    assert llm.router.status()[str(llm.router.targets[0].name)].failures == 0


@each_door
async def test_when_all_servers_fail_the_error_holds_each_of_theirs(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = servers[1].fault = Status(500)

    with pytest.raises(AllTargetsFailedError) as raised:
        await door(llm_over(servers), QUESTION)

    assert [type(error) for error in raised.value.exceptions] == [openai.InternalServerError] * 2


@each_door
async def test_a_failing_server_gets_one_request_a_call(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = Status(500)
    llm = llm_over(servers)

    await door(llm, QUESTION)

    assert len(servers[0].requests) == 1


async def test_a_stream_that_the_caller_closes_is_no_failure(
    servers: Servers, llm_over: MakeLLM
) -> None:
    llm = llm_over(servers)
    asynchronous = await llm.astream_chat([ChatMessage(QUESTION)])
    synchronous = llm.stream_chat([ChatMessage(QUESTION)])
    next(synchronous)
    await anext(asynchronous)

    synchronous.close()
    await asynchronous.aclose()

    status = llm.router.status()[str(llm.router.targets[0].name)]
    assert (status.failures, status.in_flight) == (0, 0)
    assert EventKind.ATTEMPT_FAILED not in [event.kind for event in llm.router.events]


async def test_each_attempt_gets_messages_of_its_own(servers: Servers, llm_over: MakeLLM) -> None:
    servers[0].fault = Status(500)
    messages = [ChatMessage(QUESTION)]
    before = [message.model_copy(deep=True) for message in messages]

    await llm_over(servers).achat(messages)

    assert messages == before
    assert servers[0].requests[0].body["messages"] == servers[1].requests[0].body["messages"]
