"""Tokens and money, as answers tell of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]
from pydantic import BaseModel

from failover_core import Target
from failover_core.testing import FaultServer
from failover_core.testing.faults import Status, StreamReset
from llamaindex_failover import FailoverLLM
from llamaindex_failover.url_llm import llms_from_urls
from tests.llamaindex.doors import (
    DOORS,
    PREDICTION_STREAMS,
    PREDICTIONS,
    STREAMS,
    TOOL_DOORS,
    Door,
    ToolDoor,
)
from tests.llamaindex.tools import PROMPT, Song, Weather

# LlamaIndex uses methods of pydantic that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

Servers = tuple[FaultServer, FaultServer]
TEXT = "how many tokens?"
OBJECT_DOORS = PREDICTIONS | PREDICTION_STREAMS


def over(servers: Servers, **policy: Any) -> FailoverLLM:
    """Return a pool of two servers, a and b, whose tokens have a price."""
    children = llms_from_urls(
        [f"{server.url}/v1" for server in servers], model="m", is_function_calling_model=True
    )
    targets = [
        Target(child, name=name, price=(1e6, 2e6))
        for child, name in zip(children, "ab", strict=True)
    ]
    return FailoverLLM(targets=targets, policy=policy)


def charged(llm: FailoverLLM) -> dict[str, int]:
    """Return the tokens of each target."""
    return {str(target.name): target.tokens for target in llm.router.status().targets}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
async def test_the_tokens_of_an_answer_are_charged_once_through_every_door(
    servers: Servers, door: Door
) -> None:
    llm = over(servers)
    await DOORS["chat"](llm, TEXT)
    once = charged(llm)["a"]

    await door(llm, TEXT)

    assert charged(llm) == {"a": 2 * once, "b": 0}
    assert 0 < 2 * once < llm.router.status().spend < 4 * once


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
async def test_they_are_charged_to_the_target_that_served(servers: Servers, door: Door) -> None:
    servers[0].fault = Status(500)
    llm = over(servers)

    await door(llm, TEXT)

    assert charged(llm)["a"] == 0 < charged(llm)["b"]


@pytest.mark.parametrize("door", TOOL_DOORS.values(), ids=TOOL_DOORS)
async def test_tool_calls_are_charged_too(servers: Servers, door: ToolDoor) -> None:
    llm = over(servers)

    await door(llm, [Weather().tool], "What is the weather in Oslo?")

    assert charged(llm)["a"] > 0


@pytest.mark.parametrize("door", OBJECT_DOORS.values(), ids=OBJECT_DOORS)
async def test_objects_are_charged_too(servers: Servers, door: Callable[..., Any]) -> None:
    llm = over(servers)

    await door(llm, Song, PROMPT, topic="rain")

    assert charged(llm)["a"] > 0


def test_a_resumed_stream_is_charged_to_the_target_that_ended_it(servers: Servers) -> None:
    servers[0].fault = StreamReset(2)
    llm = over(servers, on_broken_stream="resume")

    list(llm.stream_chat([ChatMessage("Who mends the torn net of the old man?")]))

    assert charged(llm)["a"] == 0 < charged(llm)["b"]


@pytest.mark.parametrize("door", STREAMS.values(), ids=STREAMS)
async def test_servers_are_asked_for_the_tokens_of_streams_unless_told_not_to(
    servers: Servers, llm_over: Callable[..., FailoverLLM], door: Door
) -> None:
    await door(llm_over(servers), TEXT)
    await DOORS["chat"](llm_over(servers), TEXT)
    quiet = llm_over(servers, additional_kwargs={"stream_options": None, "user": "me"})
    await door(quiet, TEXT)

    asked, whole, not_asked = (request.body for request in servers[0].requests)
    assert asked["stream_options"] == {"include_usage": True}
    assert "stream_options" not in whole
    assert (not_asked["stream_options"], not_asked["user"]) == (None, "me")


@pytest.mark.parametrize("door", STREAMS.values(), ids=STREAMS)
async def test_a_bare_child_may_be_asked_in_a_call(servers: Servers, door: Door) -> None:
    child = OpenAILike(model="m", api_base=servers[0].url, api_key="k", is_chat_model=True)
    llm = FailoverLLM(targets=[Target(child, name="a")])

    await door(llm, TEXT)
    assert charged(llm) == {"a": 0}
    await door(llm, TEXT, stream_options={"include_usage": True})
    assert charged(llm)["a"] > 0


class Telling(MockFunctionCallingLLM):
    """An LLM whose chunks tell of tokens, each of those so far, but not the last."""

    def stream_chat(self, *_: Any, **__: Any) -> Any:
        message = ChatMessage("fine", role="assistant")
        for tokens in (1, 5):
            usage = {"prompt_tokens": 3, "completion_tokens": tokens}
            yield ChatResponse(message=message, delta="fi", raw={"usage": usage})
        yield ChatResponse(message=message, delta="", raw={"usage": None})
        yield ChatResponse(message=message, delta="")


def test_the_last_chunk_that_tells_of_tokens_counts() -> None:
    llm = FailoverLLM(targets=[Target(Telling(), name="a")])

    list(llm.stream_chat([ChatMessage("Hello")]))

    assert charged(llm) == {"a": 8}


async def test_so_it_does_of_a_stream_that_its_reader_leaves_or_that_breaks() -> None:
    class Breaking(Telling):
        def stream_chat(self, *_: Any, **__: Any) -> Any:
            yield next(super().stream_chat())
            raise ConnectionError

        async def astream_chat(self, *_: Any, **__: Any) -> Any:
            async def chunks() -> AsyncIterator[ChatResponse]:
                for chunk in self.stream_chat():
                    yield chunk

            return chunks()

    llm = FailoverLLM(targets=[Target(Breaking(), name="a")])

    left = llm.stream_chat([ChatMessage("Hello")])
    next(left)
    left.close()
    assert charged(llm) == {"a": 4}
    for count, door in enumerate((STREAMS["stream_chat"], STREAMS["astream_chat"]), start=2):
        with pytest.raises(ConnectionError):
            await door(llm, "Hello")
        assert charged(llm) == {"a": 4 * count}


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


@pytest.mark.parametrize("fitting", [True, False], ids=["fits", "also unfit"])
@pytest.mark.parametrize("door", OBJECT_DOORS.values(), ids=OBJECT_DOORS)
async def test_answers_that_are_no_such_object_are_charged_to_who_gave_them(
    servers: Servers,
    llm_over: Callable[..., FailoverLLM],
    door: Callable[..., Any],
    fitting: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    def only(server: FaultServer, name: str, *, is_able: bool) -> Target:
        (target,) = llm_over(
            [server], is_function_calling_model=is_able, should_use_structured_outputs=False
        ).router.targets
        return Target(target.client, name=name)

    llm = FailoverLLM(
        targets=[only(servers[0], "a", is_able=False), only(servers[1], "b", is_able=fitting)]
    )

    with nullcontext() if fitting else suppress(ValueError):
        await door(llm, City, PromptTemplate("Describe a City of {topic}"), topic="Italy")

    assert [len(server.requests) for server in servers] == [1, 1]
    assert all(charged(llm).values())
