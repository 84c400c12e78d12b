"""One table of scenarios, the same through invoke, ainvoke, stream and astream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import openai
import pytest
from langchain_core.messages import AIMessageChunk

from failover_core.errors import AllTargetsFailedError, BrokenStreamError
from failover_core.testing import Fault, FaultServer, faults
from langchain_failover import FailoverChatModel
from tests.langchain.children import Streaming, Told
from tests.langchain.conftest import Door

BEFORE_DONE = -2
"""Chunks of a stream's content, counted from its end: all, and what follows up to ``[DONE]``."""


@dataclass(frozen=True)
class Failing:
    """How a first target fails before it has said anything, and the class of that error."""

    fault: Fault
    error_class: str

    def __str__(self) -> str:
        return f"{self.fault.name()} is {self.error_class}"


MOVES_ON = [
    Failing(faults.Refuse(), "connection"),
    Failing(faults.Reset(), "connection"),
    Failing(faults.Status(500), "server_error"),
    Failing(faults.Status(401), "auth"),
    Failing(faults.Status(402), "quota"),
    Failing(faults.RetryAfter(30), "throttled"),
]


@pytest.mark.parametrize("failing", MOVES_ON, ids=str)
async def test_an_answer_comes_from_the_next_target(
    failing: Failing,
    door: Door,
    chat: FailoverChatModel,
    servers: tuple[FaultServer, FaultServer],
) -> None:
    servers[0].fault = failing.fault

    answer = await door(chat, "Is anybody there?")

    assert answer.content == "You said: Is anybody there?"
    report = answer.response_metadata["failover"]
    names = [target.name for target in chat.router.targets]
    assert report == {
        "target": names[1],
        "model": "tiny",
        "attempts": 2,
        "failed_over": True,
        "errors": [{"target": names[0], "error_class": failing.error_class}],
    }
    assert chat.router.status().targets[0].in_flight == 0


async def test_a_healthy_target_serves_without_failover(
    door: Door, chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    answer = await door(chat, "Hello")

    report = answer.response_metadata["failover"]
    assert (report["attempts"], report["failed_over"], report["errors"]) == (1, False, [])
    assert not servers[1].requests


async def test_a_request_that_is_wrong_everywhere_is_raised_at_once(
    door: Door, chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    servers[0].fault = faults.Status(400)

    with pytest.raises(openai.BadRequestError):
        await door(chat, "Hello")

    assert not servers[1].requests
    assert chat.router.status().targets[0].failures == 0


async def test_all_errors_are_told_when_no_target_can(
    door: Door, chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    servers[0].fault, servers[1].fault = faults.Status(500), faults.Reset()

    with pytest.raises(AllTargetsFailedError) as caught:
        await door(chat, "Hello")

    first, second = caught.value.exceptions
    names = [target.name for target in chat.router.targets]
    assert first.__notes__ == [f"target {names[0]!r}, attempt 1: server_error"]
    assert second.__notes__ == [f"target {names[1]!r}, attempt 2: connection"]


async def test_a_child_without_a_stream_answers_in_one_chunk(door: Door) -> None:
    model = FailoverChatModel(targets=[Told(answer=ConnectionError()), Told(answer="whole")])

    answer = await door(model, "Hello")

    assert answer.content == "whole"
    assert answer.response_metadata["model_name"] == "told"
    assert answer.response_metadata["failover"]["failed_over"]


STREAM_BREAKS_BEFORE_CONTENT: list[Fault] = [
    faults.StreamReset(after_chunks=0),
    faults.StreamEnd(after_chunks=0),
    faults.StreamError(after_chunks=0),
    faults.MalformedChunk(after_chunks=0),
]


@pytest.mark.parametrize("fault", STREAM_BREAKS_BEFORE_CONTENT, ids=lambda fault: fault.name())
@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_a_stream_that_breaks_after_its_role_chunk_moves_on(
    fault: Fault,
    how: str,
    chat: FailoverChatModel,
    servers: tuple[FaultServer, FaultServer],
    doors: dict[str, Door],
) -> None:
    servers[0].fault = fault

    answer = await doors[how](chat, "Hello again")

    assert answer.content == "You said: Hello again"
    assert answer.response_metadata["failover"]["failed_over"]


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_a_stream_that_ends_without_its_finish_is_broken(
    how: str,
    chat: FailoverChatModel,
    servers: tuple[FaultServer, FaultServer],
    doors: dict[str, Door],
) -> None:
    servers[0].fault = faults.StreamEnd(after_chunks=2)

    with pytest.raises(BrokenStreamError):
        await doors[how](chat, "One two three four")

    assert not servers[1].requests, "text has gone out: another answer must not be mixed in"


async def test_a_missing_done_after_the_finish_is_no_break(
    door: Door, chat: FailoverChatModel, servers: tuple[FaultServer, FaultServer]
) -> None:
    servers[0].fault = faults.MissingDone()

    answer = await door(chat, "Hello")

    assert not answer.response_metadata["failover"]["failed_over"]


@pytest.mark.parametrize("kind", [faults.StreamHang, faults.StreamReset, faults.StreamError])
@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_nothing_that_comes_after_the_finish_is_a_break(
    kind: Callable[[int], Fault],
    how: str,
    doors: dict[str, Door],
    servers: tuple[FaultServer, FaultServer],
) -> None:
    servers[0].fault = kind(BEFORE_DONE)
    urls = [server.url for server in servers]
    chat = FailoverChatModel.from_urls(urls, model="m", policy={"idle_timeout": 0.3})

    answer = await doors[how](chat, "Hello")

    assert answer.content == "You said: Hello"
    first = chat.router.status().targets[0]
    assert (first.requests, first.failures) == (1, 0)
    assert not servers[1].requests


@pytest.mark.parametrize("chunks", [[], [AIMessageChunk(content="")]], ids=["none", "no text"])
@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_an_empty_stream_is_an_answer(
    chunks: list[AIMessageChunk], how: str, doors: dict[str, Door]
) -> None:
    second = Streaming()
    model = FailoverChatModel(targets=[Streaming(chunks=chunks), second])

    answer = await doors[how](model, "Hello")

    assert answer.content == ""
    assert not answer.response_metadata["failover"]["failed_over"]
    assert not second.asked
