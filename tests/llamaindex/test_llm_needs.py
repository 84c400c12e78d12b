"""What a request needs of an LLM, and targets that are passed over for the lack of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms import MockLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]

from failover_core import AllTargetsFailedError, ConfigurationError, ErrorClass, Target
from failover_core.testing import FaultServer
from llamaindex_failover import FailoverLLM
from tests.llamaindex.doors import DOORS, TOOL_DOORS, Door, ToolDoor
from tests.llamaindex.tools import PROMPT, Song, Weather

# LlamaIndex uses methods of pydantic that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

Servers = tuple[FaultServer, FaultServer]
QUESTION = "What is the weather in Oslo?"
IMAGE = ImageBlock(url="http://127.0.0.1/cat.png", image_mimetype="image/png")
LONG = "word " * 2_000

each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
each_tool_door = pytest.mark.parametrize("door", TOOL_DOORS.values(), ids=TOOL_DOORS)


def plain() -> MockLLM:
    """Return an LLM whose class has no tools."""
    return MockLLM(max_tokens=1)


def modest(url: str = "http://127.0.0.1:1/v1") -> OpenAILike:
    """Return an LLM whose class has tools, and whose model has not."""
    return OpenAILike(model="m", api_base=url, api_key="k", is_chat_model=True, max_retries=0)


def echo(answer: str) -> MockFunctionCallingLLM:
    """Return an LLM that says the same to everything."""
    said = ChatMessage(answer, role="assistant")
    return MockFunctionCallingLLM(response_generator=lambda *_, **__: said, is_chat_model=True)


def unmarked(llm: FailoverLLM) -> bool:
    """Return whether no target has a mark against it, and none was reported for anything."""
    return not llm.router.events and not any(t.failures for t in llm.router.status().targets)


@each_tool_door
@pytest.mark.parametrize("toolless", [plain, modest])
async def test_an_llm_without_tools_is_passed_over_in_a_call_with_tools(
    door: ToolDoor, toolless: Callable[[], LLM]
) -> None:
    llm = FailoverLLM(targets=[toolless(), Target(MockFunctionCallingLLM(), name="able")])

    response = await door(llm, [Weather().tool], QUESTION)

    report = response.additional_kwargs["failover"]
    assert (report["target"], report["attempts"], report["failed_over"]) == ("able", 1, False)
    assert [call.tool_name for call in llm.get_tool_calls_from_response(response)] == ["weather"]
    assert unmarked(llm)


@each_door
async def test_an_llm_without_tools_serves_calls_without_them(door: Door) -> None:
    llm = FailoverLLM(targets=[Target(plain(), name="plain"), MockFunctionCallingLLM()])

    assert (await door(llm, "Hello")).report["target"] == "plain"


@each_door
async def test_tools_that_are_an_argument_of_a_call_count_too(door: Door) -> None:
    llm = FailoverLLM(targets=[plain(), Target(MockFunctionCallingLLM(), name="able")])

    assert (await door(llm, "Hello", tools=[Weather().tool])).report["target"] == "able"


@each_tool_door
async def test_if_no_llm_has_tools_the_error_says_so_of_each(door: ToolDoor) -> None:
    able_but_said_not_to = Target(MockFunctionCallingLLM(), name="b", supports=["images"])
    llm = FailoverLLM(targets=[Target(plain(), name="a"), able_but_said_not_to])

    with pytest.raises(
        AllTargetsFailedError, match=r"a does not support tools; b does not support tools"
    ) as raised:
        await door(llm, [Weather().tool], QUESTION)

    assert raised.value.error_class is ErrorClass.UNSUPPORTED
    assert not any(target.failures for target in llm.router.status().targets)


async def test_what_a_target_says_of_itself_goes_before_its_llms_metadata(
    servers: Servers,
) -> None:
    llm = FailoverLLM(targets=[Target(modest(servers[0].url), supports=["tools"])])

    assert llm.metadata.is_function_calling_model
    assert llm.chat_with_tools([Weather().tool], QUESTION).message.additional_kwargs["tool_calls"]


@each_tool_door
async def test_where_no_llm_says_that_it_has_tools_they_are_sent_as_to_a_single_one(
    door: ToolDoor, servers: Servers
) -> None:
    llm = FailoverLLM(targets=[plain(), modest(servers[0].url)])

    response = await door(llm, [Weather().tool], QUESTION)

    assert [call.tool_name for call in llm.get_tool_calls_from_response(response)] == ["weather"]
    assert not llm.metadata.is_function_calling_model


def test_tools_cannot_be_said_of_an_llm_whose_class_has_none() -> None:
    with pytest.raises(ConfigurationError, match=r"'plain': supports has 'tools', but MockLLM"):
        FailoverLLM(targets=[Target(plain(), name="plain", supports=["tools"])])


def test_a_pool_without_any_class_with_tools_says_so_when_tool_calls_are_to_be_read() -> None:
    llm = FailoverLLM(targets=[plain()])

    with pytest.raises(ConfigurationError, match="FailoverLLM: none of its LLMs is a Function"):
        llm.get_tool_calls_from_response(echo("Hello").chat([]))


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (lambda: [echo(""), echo("")], True),
        (lambda: [echo(""), plain()], False),
        (lambda: [echo(""), modest()], False),
        (lambda: [echo(""), Target(plain(), supports=["images"])], True),
        (lambda: [Target(plain(), supports=[]), echo("")], True),
        (lambda: [Target(plain(), supports=[])], False),
        (lambda: [FailoverLLM(targets=[echo(""), plain()])], False),
        (lambda: [FailoverLLM(targets=[echo("")]), echo("")], True),
    ],
)
def test_tools_are_called_natively_if_all_can_but_those_said_to_be_without(
    targets: Callable[[], list[Any]],
    expected: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    assert FailoverLLM(targets=targets()).metadata.is_function_calling_model is expected


def test_a_workflow_of_a_mixed_pool_asks_in_words_which_every_llm_understands() -> None:
    mixed = FailoverLLM(targets=[echo(""), plain()])
    told = FailoverLLM(targets=[echo(""), Target(plain(), supports=[])])
    tools: list[Any] = [Weather().tool]

    for llm, kind in ((mixed, ReActAgent), (told, FunctionAgent)):
        workflow = AgentWorkflow.from_tools_or_functions(tools, llm=llm)
        (agent,) = workflow.agents.values()
        assert type(agent) is kind


async def test_a_pool_among_the_targets_is_asked_for_what_one_of_its_own_can() -> None:
    inner = FailoverLLM(targets=[plain(), MockFunctionCallingLLM()])
    llm = FailoverLLM(targets=[Target(inner, name="inner"), MockFunctionCallingLLM()])

    response = llm.chat_with_tools([Weather().tool], QUESTION)

    assert response.additional_kwargs["failover"]["target"] == "inner"
    assert [call.tool_name for call in llm.get_tool_calls_from_response(response)] == ["weather"]


async def test_a_pool_among_the_targets_that_has_no_tools_is_not_blamed() -> None:
    inner = FailoverLLM(targets=[plain(), plain()])
    llm = FailoverLLM(targets=[inner, Target(MockFunctionCallingLLM(), name="outer")])

    for _ in range(10):
        response = await llm.achat_with_tools([Weather().tool], QUESTION)
        assert response.additional_kwargs["failover"]["target"] == "outer"
    assert not any(target.failures for target in llm.router.status().targets)


async def test_an_image_goes_to_a_target_that_can_see(servers: Servers) -> None:
    blind = Target(echo("blind"), name="blind", supports=["tools"])
    llm = FailoverLLM(targets=[blind, Target(echo("seen"), name="sees")])
    shown = [ChatMessage(blocks=[TextBlock(text="What is this?"), IMAGE])]
    responses = [
        llm.chat(shown),
        await llm.achat(shown),
        [*llm.stream_chat(shown)][-1],
        [chunk async for chunk in await llm.astream_chat(shown)][-1],
        llm.chat_with_tools([Weather().tool], shown[0]),
        llm.chat_with_tools([Weather().tool], "And now?", shown),
    ]

    assert [response.message.content for response in responses] == ["seen"] * 6
    assert llm.chat([ChatMessage("Hello")]).message.content == "blind"
    assert unmarked(llm)


@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
async def test_a_schema_goes_to_a_target_that_keeps_to_one(kind: str) -> None:
    loose = Target(echo("loose"), supports=["tools"])
    llm = FailoverLLM(targets=[loose, echo("strict")])

    response = llm.chat([ChatMessage("Hello")], response_format={"type": kind})

    assert response.message.content == {"json_schema": "strict", "json_object": "loose"}[kind]


async def test_an_object_is_asked_of_a_target_that_makes_them(servers: Servers) -> None:
    loose = Target(plain(), name="loose", supports=["images"])
    able = OpenAILike(
        model="m",
        api_base=servers[0].url,
        api_key="k",
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
    )
    llm = FailoverLLM(targets=[loose, able])

    assert llm.structured_predict(Song, PROMPT, topic="rain").title
    assert (await llm.astructured_predict(Song, PROMPT, topic="rain")).title
    assert [*llm.stream_structured_predict(Song, PROMPT, topic="rain")][-1].model_dump()
    assert unmarked(llm)
    assert not llm.router.status()["loose"].requests


@each_door
async def test_a_long_text_goes_to_a_target_with_room_for_it(door: Door) -> None:
    small = Target(plain(), name="small", context_window=1_000)
    llm = FailoverLLM(targets=[small, Target(plain(), name="large", context_window=100_000)])

    assert (await door(llm, "word " * 100)).report["target"] == "small"
    assert (await door(llm, "word " * 900)).report["target"] == "small"  # 4,500 characters
    assert (await door(llm, LONG)).report["target"] == "large"
    assert unmarked(llm)


def test_a_long_prompt_for_an_object_goes_to_a_target_with_room_for_it() -> None:
    tight = Target(echo("{}"), name="small", context_window=1_000)
    llm = FailoverLLM(targets=[tight, Target(plain(), name="large")])

    with pytest.raises(ValueError, match="json"):
        llm.structured_predict(Song, PromptTemplate("About {topic}"), topic=LONG)

    assert [one.requests for one in llm.router.status().targets] == [0, 1]


@each_door
async def test_token_limits_count_what_is_asked(door: Door) -> None:
    limited = Target(plain(), name="limited", tokens_per_minute=1_000)
    llm = FailoverLLM(targets=[limited, Target(plain(), name="free")])

    served = [(await door(llm, "word " * 600)).report["target"] for _ in range(2)]

    assert served == ["limited", "free"]


async def test_nothing_is_counted_where_no_target_makes_a_difference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llamaindex_failover.llm_abilities._texts", None)

    assert FailoverLLM(targets=[plain(), plain()]).complete("Hello").text
