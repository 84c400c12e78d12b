"""Tools and objects: called once, read by who answered, with a healthy and with a dead primary."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import MockLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from failover_core import AllTargetsFailedError, ConfigurationError
from failover_core.testing import FaultServer
from failover_core.testing.faults import Status
from llamaindex_failover import FailoverLLM
from tests.llamaindex.doors import TOOL_DOORS, ToolDoor
from tests.llamaindex.tools import PROMPT, Song, Weather

# LlamaIndex uses methods of pydantic that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

Servers = tuple[FaultServer, FaultServer]
QUESTION = "What is the weather in Oslo?"


@pytest.mark.usefixtures("memory")
async def test_an_agent_calls_the_tool_and_answers_from_it(llm: FailoverLLM) -> None:
    weather = Weather()
    agent = FunctionAgent(tools=[weather.tool], llm=llm)

    handler = agent.run(QUESTION)
    results = [
        event async for event in handler.stream_events() if isinstance(event, ToolCallResult)
    ]
    output: Any = await handler

    assert weather.executions == 1
    assert str(results[0].tool_output) in str(output.response.content)


@pytest.mark.usefixtures("memory")
async def test_an_agent_without_streaming_does_the_same(llm: FailoverLLM) -> None:
    weather = Weather()

    agent = FunctionAgent(tools=[weather.tool], llm=llm, streaming=False)
    output: Any = await agent.run(QUESTION)

    assert weather.executions == 1
    assert "sunny in" in str(output.response.content)


async def test_predict_and_call_executes_the_tool_once(llm: FailoverLLM) -> None:
    weather = Weather()

    first = llm.predict_and_call([weather.tool], QUESTION)
    second = await llm.apredict_and_call([weather.tool], QUESTION)

    assert weather.executions == 2
    assert str(first) == str(second)
    assert str(first).startswith("sunny in")


async def test_the_callers_history_is_never_changed(llm: FailoverLLM, pair: Servers) -> None:
    weather, history = Weather(), [ChatMessage("Hello"), ChatMessage("Hi", role="assistant")]

    llm.chat_with_tools([weather.tool], QUESTION, history)
    await llm.achat_with_tools([weather.tool], ChatMessage(QUESTION), history)
    list(llm.stream_chat_with_tools([weather.tool], QUESTION, chat_history=history))

    assert history == [ChatMessage("Hello"), ChatMessage("Hi", role="assistant")]
    for request in pair[1].requests:
        assert [message["content"] for message in request.body["messages"]] == [
            "Hello",
            "Hi",
            QUESTION,
        ]


@pytest.mark.parametrize(
    ("messages", "kind"),
    [
        ("Hello", "str"),
        ([{"role": "user", "content": "Hello"}], "dict"),
        (ChatMessage("Hello"), "ChatMessage"),
        ([ChatMessage("Hello"), "Hello"], "str"),
        (None, "NoneType"),
    ],
    ids=str,
)
@pytest.mark.parametrize("door", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_what_is_no_conversation_is_refused_and_no_target_is_blamed(
    door: str, messages: Any, kind: str
) -> None:
    llm = FailoverLLM(targets=[MockFunctionCallingLLM(), MockFunctionCallingLLM()])

    with pytest.raises(ConfigurationError, match=rf"\b{kind}\b.* ChatMessage"):
        await _read(getattr(llm, door)(messages))

    assert llm.router.status().requests == 1
    assert [target.failures for target in llm.router.status().targets] == [0, 0]


async def _read(answer: Any) -> None:
    if inspect.isawaitable(answer):
        answer = await answer
    if inspect.isgenerator(answer):
        list(answer)
    if inspect.isasyncgen(answer):
        _ = [chunk async for chunk in answer]


def test_a_history_that_is_no_conversation_is_refused_too() -> None:
    llm = FailoverLLM(targets=[MockFunctionCallingLLM()])
    history: Any = [{"role": "user"}]

    with pytest.raises(ConfigurationError, match=r"dict.* ChatMessage"):
        llm.chat_with_tools([Weather().tool], "Hello", chat_history=history)


class Rewriting(MockFunctionCallingLLM):
    """An LLM that changes the messages it is given, and then fails."""

    def chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        messages[0].blocks.append(TextBlock(text="rewritten"))
        messages[0].additional_kwargs["rewritten"] = True
        messages[0].role = MessageRole.TOOL
        raise ConnectionError


def test_messages_that_one_llm_changes_come_to_the_next_as_they_were() -> None:
    llm = FailoverLLM(targets=[Rewriting(), MockFunctionCallingLLM()])
    messages = [ChatMessage(QUESTION)]

    answered = llm.chat(messages)

    assert messages == [ChatMessage(QUESTION)]
    assert answered.message.content == QUESTION


async def test_every_chunk_of_a_stream_says_whose_tool_calls_it_holds(llm: FailoverLLM) -> None:
    tools = [Weather().tool]

    chunks = [c async for c in await llm.astream_chat_with_tools(tools, QUESTION)]
    synchronous = list(llm.stream_chat_with_tools(tools, QUESTION))

    for chunk in (*chunks, *synchronous):
        assert chunk.additional_kwargs["failover"]["target"]
        assert "failover" not in chunk.message.additional_kwargs
        llm.get_tool_calls_from_response(chunk, error_on_no_tool_call=False)
    for last in (chunks[-1], synchronous[-1]):
        assert [call.tool_name for call in llm.get_tool_calls_from_response(last)] == ["weather"]


class OwnForm(MockFunctionCallingLLM):
    """An LLM whose tool calls have a form that no other LLM reads."""

    def get_tool_calls_from_response(
        self, response: ChatResponse, *_: Any, **__: Any
    ) -> list[ToolSelection]:
        names = response.message.additional_kwargs.get("own form", [])
        return [ToolSelection(tool_id="1", tool_name=name, tool_kwargs={}) for name in names]


def calling(*_: Any, **__: Any) -> ChatMessage:
    return ChatMessage("", role="assistant", additional_kwargs={"own form": ["weather"]})


def failing(*_: Any, **__: Any) -> ChatMessage:
    raise ConnectionError


def test_tool_calls_are_read_by_the_llm_that_made_them() -> None:
    standard = MockFunctionCallingLLM(response_generator=failing)
    llm = FailoverLLM(targets=[standard, OwnForm(response_generator=calling)])

    response = llm.chat_with_tools([Weather().tool], QUESTION)
    calls = llm.get_tool_calls_from_response(response)

    assert [call.tool_name for call in calls] == ["weather"]


@pytest.mark.parametrize("door", TOOL_DOORS.values(), ids=TOOL_DOORS)
async def test_each_turn_of_a_conversation_is_read_by_whoever_made_it(door: ToolDoor) -> None:
    first, second = OwnForm(), MockFunctionCallingLLM()
    llm = FailoverLLM(targets=[first, second])
    tools: list[Any] = [Weather().tool]
    turns: list[ChatResponse] = []

    for says in (calling, failing, calling):
        first.response_generator = says
        history = [turn.message for turn in turns]
        turns.append(await door(llm, tools, QUESTION, chat_history=history))

    served = [turn.additional_kwargs["failover"]["target"] for turn in turns]
    assert served == ["OwnForm", "MockFunctionCallingLLM", "OwnForm"]
    for turn in turns:
        assert [call.tool_name for call in llm.get_tool_calls_from_response(turn)] == ["weather"]
    assert first.get_tool_calls_from_response(turns[1]) == []


@pytest.mark.parametrize("is_dead", [False, True], ids=["healthy", "dead primary"])
async def test_a_tool_is_executed_once_however_many_targets_were_asked(*, is_dead: bool) -> None:
    weather = Weather()
    generator = failing if is_dead else None
    primary = MockFunctionCallingLLM(response_generator=generator)
    llm = FailoverLLM(targets=[primary, MockFunctionCallingLLM()])

    def here() -> str:
        """Tell the weather here."""
        return weather.weather("Oslo")

    tools = [FunctionTool.from_defaults(here)]

    assert str(llm.predict_and_call(tools, QUESTION)) == "sunny in Oslo"
    assert str(await llm.apredict_and_call(tools, QUESTION)) == "sunny in Oslo"
    assert weather.executions == 2


def test_a_tool_that_fails_is_no_failure_of_a_target() -> None:
    def broken() -> str:
        """Break."""
        raise ConnectionError

    llm = FailoverLLM(targets=[MockFunctionCallingLLM(), MockFunctionCallingLLM()])

    answer = llm.predict_and_call([FunctionTool.from_defaults(broken)], QUESTION)

    assert answer.sources[0].is_error
    assert [target.failures for target in llm.router.status().targets] == [0, 0]
    assert [target.requests for target in llm.router.status().targets] == [1, 0]


def test_tool_calls_are_read_by_nobody_else_who_thinks_to_see_some() -> None:
    class Greedy(MockFunctionCallingLLM):
        def get_tool_calls_from_response(self, *_: Any, **__: Any) -> list[ToolSelection]:
            return [ToolSelection(tool_id="1", tool_name="imagined", tool_kwargs={})]

    greedy = Greedy(response_generator=failing)
    llm = FailoverLLM(targets=[greedy, MockFunctionCallingLLM()])

    calls = llm.get_tool_calls_from_response(llm.chat_with_tools([Weather().tool], QUESTION))
    none = llm.get_tool_calls_from_response(
        llm.chat([ChatMessage("a")]), error_on_no_tool_call=False
    )

    assert [call.tool_name for call in calls] == ["weather"]
    assert none == []


def test_a_response_of_unknown_origin_is_read_by_whoever_can() -> None:
    llm = FailoverLLM(targets=[MockFunctionCallingLLM(), OwnForm()])
    block = ToolCallBlock(tool_name="clock", tool_kwargs={})

    own = llm.get_tool_calls_from_response(ChatResponse(message=calling()))
    standard = llm.get_tool_calls_from_response(
        ChatResponse(message=ChatMessage(role="assistant", blocks=[block]))
    )

    assert [call.tool_name for call in (*own, *standard)] == ["weather", "clock"]


@pytest.mark.parametrize("options", [{}, {"should_use_structured_outputs": True}], ids=str)
async def test_structured_prediction_through_every_door(
    urls: list[str], llm_over: Callable[..., FailoverLLM], options: dict[str, Any]
) -> None:
    llm = llm_over(urls, is_function_calling_model=True, **options)

    whole = llm.structured_predict(Song, PROMPT, topic="rain")
    asynchronous = await llm.astructured_predict(Song, PROMPT, topic="rain")
    *_, last = llm.stream_structured_predict(Song, PROMPT, topic="rain")
    stream = await llm.astream_structured_predict(Song, PROMPT, topic="rain")
    chunks = [chunk async for chunk in stream]

    assert whole.title
    assert asynchronous == whole
    assert Song.model_validate(last.model_dump()) == whole
    assert Song.model_validate(chunks[-1].model_dump()) == whole


async def test_a_structured_llm_answers_with_objects(llm: FailoverLLM) -> None:
    structured = llm.as_structured_llm(Song)

    whole = structured.chat([ChatMessage("Invent a song about rain")])
    asynchronous = await structured.achat([ChatMessage("Invent a song about rain")])
    *_, last = structured.stream_chat([ChatMessage("Invent a song about rain")])

    assert isinstance(structured, StructuredLLM)
    assert isinstance(whole.raw, Song)
    assert whole.raw == asynchronous.raw
    assert isinstance(last.raw, BaseModel)
    assert last.raw.model_dump() == whole.raw.model_dump()


def test_an_object_that_one_llm_cannot_make_is_asked_of_the_next(
    servers: Servers, llm_over: Callable[..., FailoverLLM]
) -> None:
    talker = MockLLM(max_tokens=5)
    able = llm_over(servers, is_function_calling_model=True).router.targets[0]
    llm = FailoverLLM(targets=[talker, able.client])

    assert llm.structured_predict(Song, PROMPT, topic="rain").title


def test_when_nobody_can_make_the_object_the_error_says_so(
    servers: Servers, llm_over: Callable[..., FailoverLLM]
) -> None:
    servers[0].fault = servers[1].fault = Status(500)

    with pytest.raises(AllTargetsFailedError):
        llm_over(servers).structured_predict(Song, PROMPT, topic="rain")
