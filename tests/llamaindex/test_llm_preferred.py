"""A call may name the target to try first, through every door, and the target never hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.react.formatter import ReActChatFormatter
from llama_index.core.agent.react.output_parser import ReActOutputParser
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.mock import MockFunctionCallingLLM

from failover_core import ConfigurationError, Target
from failover_core.testing import FaultServer
from failover_core.testing.faults import Status
from llamaindex_failover import FailoverLLM
from tests.llamaindex.doors import (
    DOORS,
    PREDICTION_STREAMS,
    PREDICTIONS,
    TOOL_DOORS,
    Door,
    ToolDoor,
)
from tests.llamaindex.tools import PROMPT, Song, Weather

# LlamaIndex uses methods of pydantic that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

Servers = tuple[FaultServer, FaultServer]
QUESTION = "What is the weather in Oslo?"
OBJECT_DOORS = PREDICTIONS | PREDICTION_STREAMS

each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
each_tool_door = pytest.mark.parametrize("door", TOOL_DOORS.values(), ids=TOOL_DOORS)
each_object_door = pytest.mark.parametrize("door", OBJECT_DOORS.values(), ids=OBJECT_DOORS)
unknown = pytest.raises(ConfigurationError, match="'nobody'")


@pytest.fixture
def pool(servers: Servers, llm_over: Callable[..., FailoverLLM]) -> FailoverLLM:
    """Two servers whose targets are named a and b."""
    bare = llm_over(servers, is_function_calling_model=True)
    children = [target.client for target in bare.router.targets]
    return FailoverLLM(targets=[Target(children[0], name="a"), Target(children[1], name="b")])


def sent(server: FaultServer) -> list[dict[str, Any]]:
    """Return the requests that a server got, none of which may speak of targets."""
    bodies = [request.body for request in server.requests]
    assert not any("preferred" in str(body) for body in bodies)
    return bodies


@each_door
async def test_the_preferred_target_is_tried_first(
    pool: FailoverLLM, servers: Servers, door: Door
) -> None:
    told = await door(pool, "Hello", preferred_target="b")

    assert (told.report["target"], told.report["failed_over"]) == ("b", False)
    assert (len(sent(servers[0])), len(sent(servers[1]))) == (0, 1)
    assert (await door(pool, "Hello")).report["target"] == "a"


@each_door
async def test_if_the_preferred_target_fails_the_others_are_tried(
    pool: FailoverLLM, servers: Servers, door: Door
) -> None:
    servers[1].fault = Status(500)

    told = await door(pool, "Hello", preferred_target="b")

    assert (told.report["target"], told.report["failed_over"]) == ("a", True)


@each_door
async def test_a_name_that_no_target_has_is_an_error(pool: FailoverLLM, door: Door) -> None:
    with unknown:
        await door(pool, "Hello", preferred_target="nobody")


def test_a_stream_says_so_before_it_is_read(pool: FailoverLLM) -> None:
    with unknown:
        pool.stream_chat([ChatMessage("Hello")], preferred_target="nobody")


@each_tool_door
async def test_it_is_preferred_for_tool_calls(
    pool: FailoverLLM, servers: Servers, door: ToolDoor
) -> None:
    response = await door(pool, [Weather().tool], QUESTION, preferred_target="b")

    assert response.additional_kwargs["failover"]["target"] == "b"
    assert (len(sent(servers[0])), len(sent(servers[1]))) == (0, 1)
    with unknown:
        await door(pool, [Weather().tool], QUESTION, preferred_target="nobody")


@each_object_door
@pytest.mark.parametrize("place", ["argument", "llm_kwargs"])
async def test_it_is_preferred_for_objects(
    pool: FailoverLLM, servers: Servers, door: Callable[..., Any], place: str
) -> None:
    def naming(name: str) -> dict[str, Any]:
        choice = {"preferred_target": name}
        return choice if place == "argument" else {"llm_kwargs": choice}

    song = await door(pool, Song, PROMPT, topic="rain", **naming("b"))

    assert song.title
    assert (len(sent(servers[0])), len(sent(servers[1]))) == (0, 1)
    with unknown:
        await door(pool, Song, PROMPT, topic="rain", **naming("nobody"))


async def test_it_is_preferred_by_structured_llms(pool: FailoverLLM, servers: Servers) -> None:
    structured = pool.as_structured_llm(Song)
    messages = [ChatMessage("Invent a song about rain")]

    structured.chat(messages, preferred_target="b")
    await structured.achat(messages, preferred_target="b")
    list(structured.stream_chat(messages, preferred_target="b"))

    assert (len(sent(servers[0])), len(sent(servers[1]))) == (0, 3)


@pytest.mark.parametrize("native", [True, False], ids=["native", "in words"])
async def test_it_is_preferred_by_predict_and_call(native: bool) -> None:  # noqa: FBT001 - a parameter
    class Counting(MockFunctionCallingLLM):
        asked: list[str] = []  # noqa: RUF012 - a field

        def _note(self, *_: Any, **__: Any) -> ChatMessage:
            self.asked.append("asked")
            return ChatMessage("Thought: done\nAnswer: fine", role="assistant")

        def model_post_init(self, context: Any, /) -> None:
            super().model_post_init(context)
            self.response_generator = self._note

    children = [Counting(asked=[]), Counting(asked=[])]
    supports = None if native else ["images"]
    llm = FailoverLLM(
        targets=[
            Target(child, name=name, supports=supports)
            for child, name in zip(children, "ab", strict=True)
        ]
    )
    words = {"react_chat_formatter": ReActChatFormatter(), "output_parser": ReActOutputParser()}
    options: dict[str, Any] = {"error_on_no_tool_call": False} if native else words
    options["preferred_target"] = "b"

    llm.predict_and_call([Weather().tool], QUESTION, **options)
    await llm.apredict_and_call([Weather().tool], QUESTION, **options)

    assert [len(child.asked) for child in children] == [0, 2]
    assert llm.complete("Hello").additional_kwargs["failover"]["target"] == "a"
    with unknown:
        llm.predict_and_call([Weather().tool], QUESTION, **options | {"preferred_target": "nobody"})
