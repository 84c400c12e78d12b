"""Graphs whose nodes call a pool: messages as they stream, interrupts, and what they leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphBubbleUp, GraphInterrupt, ParentCommand
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, interrupt

from failover_core import BrokenStreamError
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel
from tests.langchain.agents import WAYS, Ask, names_of, pool_over, servers_of
from tests.langchain.children import Runs, Streaming, Told, openai_child
from tests.langchain.conftest import Door

Servers = tuple[FaultServer, FaultServer]
QUESTION = "one two three four five"
ANSWER = f"You said: {QUESTION}"


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    """One of the four ways to ask a graph."""
    return WAYS[request.param]


def graph_of(model: Any, **node: Any) -> Any:
    """Return a graph of one node that calls a model as users' nodes do."""

    def answer(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def aanswer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", RunnableLambda(answer, aanswer), **node)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph


async def streamed(graph: Any, is_async: bool) -> list[BaseMessage]:  # noqa: FBT001
    question = {"messages": [("user", QUESTION)]}
    if is_async:
        return [one async for one, _ in graph.astream(question, stream_mode="messages")]
    return [one for one, _ in graph.stream(question, stream_mode="messages")]


both = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@both
@pytest.mark.parametrize("primary", ["healthy", "dead", "breaking"])
async def test_a_graph_streams_the_words_of_the_child_that_serves(
    is_async: bool,  # noqa: FBT001
    primary: str,
    servers: Servers,
) -> None:
    chat = pool_over(servers, on_broken_stream="resume")
    bare = await streamed(graph_of(openai_child(servers[1], stream_usage=True)).compile(), is_async)
    if primary == "dead":
        servers[0].stop()
    elif primary == "breaking":
        servers[0].fault = faults.StreamReset(after_chunks=3)

    chunks = await streamed(graph_of(chat).compile(), is_async)

    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    said = [chunk.text for chunk in chunks if chunk.text]
    assert said == [chunk.text for chunk in bare if chunk.text]
    assert len({chunk.id for chunk in chunks}) == 1
    assert len([chunk for chunk in chunks if chunk.usage_metadata]) == 1  # type: ignore[attr-defined]
    assert servers_of(chunks) == [names_of(chat)[primary != "healthy"]]
    assert "failover" in chunks[-1].response_metadata


@both
async def test_a_graph_raises_a_break_that_the_policy_does_not_resume(
    is_async: bool,  # noqa: FBT001
    chat: FailoverChatModel,
    servers: Servers,
) -> None:
    servers[0].fault = faults.StreamEnd(after_chunks=3)

    with pytest.raises(BrokenStreamError):
        await streamed(graph_of(chat).compile(), is_async)

    assert not servers[1].requests


async def test_a_graph_that_retries_its_nodes_asks_the_pool_again(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    for server in servers:
        server.script([faults.Status(500)])
    retries = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2)

    messages = await ask(graph_of(chat, retry_policy=retries).compile(), QUESTION)

    assert messages[-1].text == ANSWER


async def test_what_a_pool_leaves_in_a_checkpoint_can_be_read_again(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = faults.Status(500)
    graph = graph_of(chat).compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}

    first = await ask(graph, QUESTION, thread)
    second = await ask(graph, "and again", thread)

    assert second[: len(first)] == first
    assert second[1].response_metadata["failover"]["errors"][0]["error_class"] == "server_error"
    assert second[-1].text == "You said: and again"


async def test_an_agent_that_waits_for_a_person_goes_on_at_the_next_target(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    paid: list[int] = []

    @tool
    def transfer_money(amount: int) -> str:
        """Transfer money."""
        if interrupt("May I?") == "yes":
            paid.append(amount)
        return f"sent {amount}"

    runs = Runs()
    agent: Any = create_agent(chat, [transfer_money], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}, "callbacks": [runs]}

    await ask(agent, "transfer_money 250", config)
    assert [pause.value for pause in agent.get_state(config).interrupts] == ["May I?"]
    assert not paid
    servers[0].stop()
    messages = await ask(agent, Command(resume="yes"), config)

    assert paid == [250]
    assert messages[-1].text == "sent 250"
    assert servers_of(messages) == names_of(chat)
    assert not runs.failed
    assert chat.router.status().failed == 0


POLICIES: dict[str, Any] = {
    "no limit": None,
    "limit": {"attempt_timeout": 5},
    "hedged": {"hedge": {"after": 5}},
}
policies = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)

BUBBLES: list[GraphBubbleUp] = [GraphInterrupt(()), ParentCommand(Command(goto="elsewhere"))]


@policies
@pytest.mark.parametrize("bubble", BUBBLES, ids=lambda one: type(one).__name__)
async def test_what_steers_a_graph_passes_through_a_model_untouched(
    bubble: GraphBubbleUp, policy: Any, door: Door
) -> None:
    second = Streaming()
    model = FailoverChatModel(
        targets=[Streaming(answer=bubble, chunks=["", bubble]), second], policy=policy
    )

    with pytest.raises(type(bubble)) as caught:
        await door(model, "Hello")

    assert caught.value is bubble
    assert not getattr(bubble, "__notes__", [])
    assert not second.asked
    status = model.router.status()
    assert (status.failed, status.targets[0].failures, status.targets[0].in_flight) == (0, 0, 0)
    assert not list(model.router.events)


@policies
async def test_a_model_that_asks_a_person_is_answered(ask: Ask, policy: Any) -> None:
    model = FailoverChatModel(
        targets=[Told(answer=lambda _: interrupt("Which one?")), Told()], policy=policy
    )
    graph = graph_of(model).compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "1"}}

    await ask(graph, "Hello", thread)
    messages = await ask(graph, Command(resume="this one"), thread)

    assert messages[-1].text == "this one"
    assert model.router.status().targets[0].failures == 0


async def test_a_graph_may_answer_in_many_nodes_at_once(
    ask: Ask, chat: FailoverChatModel, servers: Servers
) -> None:
    graph = StateGraph(MessagesState)
    inner = graph_of(chat).compile()
    for number in range(5):
        graph.add_node(f"node {number}", inner)
        graph.add_edge(START, f"node {number}")
    servers[0].stop()

    messages = await ask(graph.compile(), QUESTION)

    assert [message.text for message in messages[1:]] == [ANSWER] * 5
    assert chat.router.status().succeeded == 5


@pytest.mark.parametrize("fault", [faults.Hang(), faults.StreamHang(after_chunks=1)])
async def test_a_graph_that_is_cancelled_marks_no_target(
    fault: Any, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = fault
    task = asyncio.create_task(streamed(graph_of(chat).compile(), is_async=True))
    while not servers[0].requests:  # noqa: ASYNC110 - the server has a thread of its own
        await asyncio.sleep(0.01)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    status = chat.router.status()
    assert (status.failed, status.targets[0].failures, status.targets[0].in_flight) == (0, 0, 0)
    assert not servers[1].requests
