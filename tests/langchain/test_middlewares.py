"""LangChain's own middlewares around a pool, and inside one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRequest,
    ModelRetryMiddleware,
    ProviderToolSearchMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
)
from langchain_core.language_models import ModelProfile
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import BaseModel

from failover_core import BrokenStreamError
from failover_core.testing import FaultServer, faults
from langchain_failover import AllTargetsFailedError, FailoverChatModel
from tests.langchain.agents import SUM, WAYS, Adder, Ask, names_of, servers_of
from tests.langchain.children import Told, openai_child

Servers = tuple[FaultServer, FaultServer]
NOW: dict[str, Any] = {"initial_delay": 0, "jitter": False, "on_failure": "error"}


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """One of the four ways to ask an agent."""
    return WAYS[request.param]


async def test_a_retry_around_a_pool_asks_all_its_targets_again(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    for server in servers:
        server.script([faults.Status(500)])
    adder = Adder()

    agent = create_agent(chat, [adder.tool], middleware=[ModelRetryMiddleware(**NOW)])
    messages = await ask(agent)

    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]


@pytest.mark.parametrize("way", ["stream", "astream"])
async def test_a_retry_around_a_pool_repeats_a_tool_call_that_broke_off(
    way: str, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].script([faults.StreamEnd(after_chunks=1)])
    adder = Adder()

    agent = create_agent(chat, [adder.tool], middleware=[ModelRetryMiddleware(**NOW)])
    messages = await WAYS[way](agent)

    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]


async def test_a_retry_around_a_pool_can_tell_its_errors(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    for server in servers:
        server.fault = faults.Status(500)
    retry = ModelRetryMiddleware(**NOW, retry_on=(BrokenStreamError,))

    with pytest.raises(AllTargetsFailedError):
        await ask(create_agent(chat, [], middleware=[retry]), "Hello")

    assert [len(server.requests) for server in servers] == [1, 1]


async def test_a_fallback_around_a_pool_is_for_when_all_its_targets_have_failed(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    last = Told(answer="I am all that is left")
    agent = create_agent(chat, [], middleware=[ModelFallbackMiddleware(last)])

    servers[0].stop()
    before = await ask(agent, "Hello")
    servers[1].stop()
    after = await ask(agent, "Hello")

    assert (before[-1].text, after[-1].text) == ("You said: Hello", "I am all that is left")
    assert len(last.asked) == 1


async def test_a_pool_may_be_the_fallback_of_another_model(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].stop()
    adder = Adder()
    agent = create_agent(
        Told(answer=ConnectionError()), [adder.tool], middleware=[ModelFallbackMiddleware(chat)]
    )

    messages = await ask(agent)

    assert messages[-1].text == "7"
    assert servers_of(messages) == [names_of(chat)[1]] * 2
    assert adder.runs == [(3, 4)]


async def test_a_summary_is_written_by_whoever_lives(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].stop()
    summing_up = SummarizationMiddleware(chat, trigger=("messages", 3), keep=("messages", 1))
    agent: Any = create_agent(chat, [], middleware=[summing_up], checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}

    await ask(agent, "The lighthouse is red", thread)
    messages = await ask(agent, "And the sea?", thread)

    assert [message.type for message in messages] == ["human", "human", "ai"]
    assert messages[0].additional_kwargs["lc_source"] == "summarization"
    assert messages[-1].text == "You said: And the sea?"


def test_a_share_of_the_window_is_that_of_the_smallest_child() -> None:
    def child(window: int) -> Told:
        return Told(profile=ModelProfile(max_input_tokens=window), answer="short")

    pool = FailoverChatModel(targets=[child(100_000), child(100)])
    half = SummarizationMiddleware(pool, trigger=("fraction", 0.5), keep=("messages", 1))
    agent: Any = create_agent(pool, [], middleware=[half])

    said = [("user", "word " * 60), ("ai", "yes"), ("user", "Hello")]
    messages = agent.invoke({"messages": said})["messages"]

    assert messages[0].additional_kwargs["lc_source"] == "summarization"
    assert len(messages) == 3


def test_tokens_that_a_pools_answer_reports_are_believed(chat: FailoverChatModel) -> None:
    tiny = SummarizationMiddleware(chat, trigger=("tokens", 50), keep=("messages", 1))
    usage: Any = {"input_tokens": 60, "output_tokens": 1, "total_tokens": 61}
    answer = AIMessage("yes", usage_metadata=usage, response_metadata={"model_provider": "openai"})

    agent = create_agent(chat, [], middleware=[tiny])
    state: Any = {"messages": [("user", "Hi"), answer, ("user", "Hello")]}
    messages = agent.invoke(state)["messages"]

    assert messages[0].additional_kwargs["lc_source"] == "summarization"


async def test_a_selector_of_tools_chooses_with_whoever_lives(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    @tool
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    servers[0].stop()
    adder = Adder()
    selector = LLMToolSelectorMiddleware(model=chat, max_tools=1)
    agent = create_agent(chat, [adder.tool, look_up], middleware=[selector])

    messages = await ask(agent)

    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]
    offered = [request.body["tools"] for request in servers[1].requests[1:]]
    assert all(len(tools) == 1 for tools in offered)


def test_tools_are_searched_for_at_the_provider_of_the_first_child(servers: Servers) -> None:
    asked: list[ModelRequest[Any]] = []

    class Look(AgentMiddleware[Any, Any]):
        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            asked.append(request)
            return AIMessage("seen")

    children: list[Any] = [
        openai_child(servers[0]),
        FailoverChatModel.from_urls(f"{servers[0].url}/v1", model="tiny"),
    ]
    for child in children:
        search = ProviderToolSearchMiddleware(searchable_tools=[Adder().tool])
        agent: Any = create_agent(child, [Adder().tool], middleware=[search, Look()])
        agent.invoke({"messages": [("user", SUM)]})

    bare, pooled = ([_named(one) for one in request.tools] for request in asked)
    assert pooled == bare
    assert {"type": "tool_search"} in pooled


def _named(one: Any) -> Any:
    return one if isinstance(one, dict) else (one.name, one.extras)


async def test_a_person_is_asked_once_whoever_asked_for_the_tool(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    adder = Adder()
    middlewares: list[Any] = [
        HumanInTheLoopMiddleware(interrupt_on={"add_numbers": True}),
        ModelCallLimitMiddleware(run_limit=2),
        TodoListMiddleware(),
    ]
    agent: Any = create_agent(
        chat, [adder.tool], middleware=middlewares, checkpointer=InMemorySaver()
    )
    thread = {"configurable": {"thread_id": "1"}}

    await ask(agent, SUM, thread)
    assert not adder.runs
    servers[0].stop()
    messages = await ask(agent, Command(resume={"decisions": [{"type": "approve"}]}), thread)

    assert messages[-1].text == "7"
    assert adder.runs == [(3, 4)]
    assert servers_of(messages) == names_of(chat)


def test_a_middleware_may_put_a_pool_in_the_place_of_the_model(
    chat: FailoverChatModel, servers: Servers
) -> None:
    class Instead(AgentMiddleware[Any, Any]):
        def wrap_model_call(self, request: Any, handler: Callable[[Any], Any]) -> Any:
            return handler(request.override(model=chat, model_settings={"temperature": 0.5}))

    servers[0].stop()
    agent: Any = create_agent(Told(answer="never"), [], middleware=[Instead()])

    messages = agent.invoke({"messages": [("user", "Hello")]})["messages"]

    assert messages[-1].text == "You said: Hello"
    assert servers[1].requests[-1].body["temperature"] == 0.5


class City(BaseModel):
    """A city."""

    name: str


@pytest.mark.parametrize(
    ("profiles", "is_native"),
    [((True, True), True), ((True, False), False), ((False, True), False)],
    ids=["all can", "the first can", "the second can"],
)
def test_an_agent_asks_for_a_schema_natively_only_if_every_child_can(
    profiles: tuple[bool, bool],
    is_native: bool,  # noqa: FBT001
) -> None:
    answer = AIMessage(
        "" if not is_native else '{"name": "Ghent"}',
        tool_calls=[] if is_native else [{"name": "City", "args": {"name": "Ghent"}, "id": "1"}],
    )
    children = [
        Told(
            answer=answer,
            # LangChain believes this name to be that of a model that can.
            model_name="gpt-4o" if able else "elder",
            profile=ModelProfile(structured_output=able),
        )
        for able in profiles
    ]

    agent: Any = create_agent(FailoverChatModel(targets=children), [], response_format=City)
    state = agent.invoke({"messages": [("user", "Where?")]})

    assert state["structured_response"] == City(name="Ghent")
    assert ("response_format" in children[0].asked[0]) is is_native
