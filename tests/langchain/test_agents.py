"""Agents over a pool: what they are told and what they ask, while a target dies at any moment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, ToolMessage
from pydantic import BaseModel

from failover_core import BrokenStreamError
from failover_core.testing import FaultServer, faults
from langchain_failover import AllTargetsFailedError, FailoverChatModel
from tests.langchain.agents import SUM, WAYS, Adder, Ask, names_of, pool_over, servers_of, told
from tests.langchain.children import openai_child

Servers = tuple[FaultServer, FaultServer]
Build = Callable[[Any, list[Any]], Any]


def prebuilt(model: Any, tools: list[Any], **options: Any) -> Any:
    from langgraph.prebuilt import create_react_agent  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "create_react_agent has been moved")
        return create_react_agent(model, tools, **options)


AGENTS: dict[str, Build] = {"create_agent": create_agent, "create_react_agent": prebuilt}

both_streams = pytest.mark.parametrize("ask", [WAYS["stream"], WAYS["astream"]], ids=["s", "a"])


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """One of the four ways to ask an agent."""
    return WAYS[request.param]


@pytest.fixture(params=AGENTS)
def agent_of(request: pytest.FixtureRequest) -> Build:
    """Build one of the agents that come with the frameworks."""
    return AGENTS[request.param]


async def test_a_healthy_pool_holds_the_conversation_that_its_child_would_hold(
    ask: Ask, agent_of: Build, chat: FailoverChatModel, servers: Servers
) -> None:
    child = openai_child(servers[1], stream_usage=True)

    ours = await ask(agent_of(chat, [Adder().tool]))
    theirs = await ask(agent_of(child, [Adder().tool]))

    assert [told(message) for message in ours] == [told(message) for message in theirs]
    assert [type(one) for one in ours] == [type(one) for one in theirs]
    for request, bare in zip(servers[0].requests, servers[1].requests, strict=True):
        assert request.body["tools"] == bare.body["tools"]
        assert request.body.keys() == bare.body.keys()


async def test_a_dead_primary_is_not_noticed(
    ask: Ask, agent_of: Build, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].stop()
    adder = Adder()

    messages = await ask(agent_of(chat, [adder.tool]))

    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]
    assert servers_of(messages) == [names_of(chat)[1]] * 2


async def test_the_conversation_goes_on_when_the_primary_dies_between_its_turns(
    ask: Ask, agent_of: Build, chat: FailoverChatModel, servers: Servers
) -> None:
    adder = Adder(meanwhile=servers[0].stop)

    messages = await ask(agent_of(chat, [adder.tool]))

    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]
    assert servers_of(messages) == names_of(chat)
    called, answered = messages[1], messages[2]
    assert isinstance(called, AIMessage)
    assert isinstance(answered, ToolMessage)
    (request,) = servers[1].requests
    _, replayed, result = request.body["messages"]
    assert replayed["tool_calls"][0]["id"] == called.tool_calls[0]["id"] == result["tool_call_id"]
    assert answered.tool_call_id == result["tool_call_id"]


async def test_each_turn_may_be_served_by_another_target(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].script([faults.Status(500), None])
    servers[1].script([None, faults.Status(500)])

    messages = await ask(create_agent(chat, [Adder().tool]))

    assert messages[-1].text == "7"
    assert servers_of(messages) == list(reversed(names_of(chat)))


async def test_an_agent_hears_of_all_errors_when_no_target_lives(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    def die() -> None:
        for server in servers:
            server.stop()

    adder = Adder(meanwhile=die)

    with pytest.raises(AllTargetsFailedError) as caught:
        await ask(create_agent(chat, [adder.tool]))

    assert len(caught.value.exceptions) == 2
    assert adder.runs == [(3, 4)]


@both_streams
@pytest.mark.parametrize("after_chunks", [1, 3])
async def test_an_answer_that_breaks_off_is_finished_by_the_next_target(
    ask: Ask, after_chunks: int, servers: Servers
) -> None:
    chat = pool_over(servers, on_broken_stream="resume")
    servers[0].fault = faults.StreamReset(after_chunks=after_chunks)

    messages = await ask(create_agent(chat, []), "one two three four")

    assert messages[-1].text == "You said: one two three four"
    assert servers_of(messages) == [names_of(chat)[1]]


@both_streams
async def test_an_answer_that_breaks_off_is_raised_if_the_policy_says_so(
    ask: Ask, servers: Servers
) -> None:
    servers[0].fault = faults.StreamEnd(after_chunks=3)

    with pytest.raises(BrokenStreamError):
        await ask(
            create_agent(pool_over(servers, on_broken_stream="raise"), []), "one two three four"
        )

    assert not servers[1].requests


@both_streams
async def test_a_tool_call_that_breaks_off_runs_no_tool(ask: Ask, servers: Servers) -> None:
    servers[0].fault = faults.StreamEnd(after_chunks=1)
    adder = Adder()

    with pytest.raises(BrokenStreamError):
        await ask(create_agent(pool_over(servers, on_broken_stream="raise"), [adder.tool]))

    assert not adder.runs


@both_streams
async def test_a_tool_call_that_is_resumed_runs_its_tool_once(ask: Ask, servers: Servers) -> None:
    servers[0].fault = faults.StreamEnd(after_chunks=1)
    adder = Adder()

    messages = await ask(create_agent(pool_over(servers, on_broken_stream="resume"), [adder.tool]))

    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]


@both_streams
async def test_a_turn_that_breaks_before_its_tool_call_runs_the_tool_once(
    ask: Ask, servers: Servers
) -> None:
    servers[0].fault = faults.StreamReset(after_chunks=0)
    adder = Adder()

    messages = await ask(create_agent(pool_over(servers, on_broken_stream="raise"), [adder.tool]))

    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


GHENT = "The city 'Ghent' has 270000 inhabitants"
FORMATS: dict[str, Any] = {
    "tool": ToolStrategy(City),
    "provider": ProviderStrategy(City),
    "auto": City,
}


@pytest.mark.parametrize("tools", [[], [Adder().tool]], ids=["no tools", "tools"])
@pytest.mark.parametrize("model_name", ["tiny", "gpt-4o"])
@pytest.mark.parametrize("response_format", FORMATS.values(), ids=FORMATS)
def test_a_pool_asks_for_a_schema_as_its_child_would(
    response_format: Any, model_name: str, tools: list[Any], servers: Servers
) -> None:
    child = openai_child(servers[0], model=model_name)
    question = {"messages": [("user", GHENT)]}

    for model in (child, FailoverChatModel(targets=[child])):
        agent = create_agent(model, tools, response_format=response_format)
        assert agent.invoke(question)["structured_response"] == City(
            name="Ghent", inhabitants=270000
        )

    theirs, ours = servers[0].requests
    assert ours.body == theirs.body


@pytest.mark.parametrize("response_format", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_structured_answer_comes_from_whoever_lives(
    is_async: bool,  # noqa: FBT001
    response_format: Any,
    chat: FailoverChatModel,
    servers: Servers,
) -> None:
    servers[0].stop()
    agent = create_agent(chat, [], response_format=response_format)
    question: Any = {"messages": [("user", GHENT)]}

    state = await agent.ainvoke(question) if is_async else agent.invoke(question)

    assert state["structured_response"] == City(name="Ghent", inhabitants=270000)
    (name,) = servers_of(state["messages"])
    assert name == names_of(chat)[1]


def test_the_prebuilt_agent_takes_a_pool_with_its_tools_bound(
    chat: FailoverChatModel, servers: Servers
) -> None:
    adder = Adder(meanwhile=servers[0].stop)

    agent = prebuilt(chat.bind_tools([adder.tool]), [adder.tool])

    assert agent.invoke({"messages": [("user", SUM)]})["messages"][-1].text == "7"
    assert adder.runs == [(3, 4)]


def test_the_prebuilt_agent_fills_a_schema_at_whoever_lives(
    chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].script([None])
    servers[0].fault = faults.Status(500)

    agent = prebuilt(chat, [], response_format=City)
    state = agent.invoke({"messages": [("user", GHENT)]})

    assert state["structured_response"] == City(name="Ghent", inhabitants=270000)
    assert len(servers[1].requests) == 1
