"""An agent over a pool has the events, traces and costs that it has over the child that serves."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.language_models import BaseChatModel
from langchain_core.tracers.context import collect_runs

from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel
from tests.langchain.agents import SUM, Adder, names_of
from tests.langchain.recorded import QUESTION, V3_IS_BETA, primaries, reports_in, tree, v2

Servers = tuple[FaultServer, FaultServer]

pytestmark = V3_IS_BETA


@pytest.mark.parametrize(
    "script",
    [
        [],
        [faults.StreamReset(after_chunks=0), None],
        # A tool call is not resumed, so the break comes in the turn after it.
        [None, faults.StreamReset(after_chunks=1)],
        [faults.Status(500)] * 2,
    ],
    ids=["healthy", "breaks at once", "breaks later", "fails"],
)
async def test_an_agent_has_the_events_that_it_has_over_the_child(
    script: Any, resuming: FailoverChatModel, bare: BaseChatModel, servers: Servers
) -> None:
    question = {"messages": [("user", SUM)]}
    theirs = await v2(create_agent(bare, [Adder().tool]), question)
    servers[0].script(script)
    adder = Adder()

    ours = await v2(create_agent(resuming, [adder.tool]), question)

    assert [event["event"] for event in ours] == [event["event"] for event in theirs]
    assert tree(ours) == tree(theirs)
    assert adder.runs == [(3, 4)]
    chunks = [event for event in ours if event["event"] == "on_chat_model_stream"]
    assert len(list(reports_in(chunks))) == 2


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_agent_with_typed_events_is_served_by_whoever_lives(
    is_async: bool,  # noqa: FBT001
    resuming: FailoverChatModel,
    servers: Servers,
) -> None:
    adder = Adder(meanwhile=servers[0].stop)
    agent: Any = create_agent(resuming, [adder.tool])
    question = {"messages": [("user", SUM)]}

    if is_async:
        run = await agent.astream_events(question, version="v3")
        state = await run.output()
    else:
        state = agent.stream_events(question, version="v3").output

    assert state["messages"][-1].text == "7"
    reports = list(reports_in(state["messages"]))
    assert [report["target"] for report in reports] == names_of(resuming)
    assert adder.runs == [(3, 4)]


@primaries
async def test_tokens_are_counted_once_by_langchains_own_counter(
    fault: Any, resuming: FailoverChatModel, servers: Servers
) -> None:
    with get_usage_metadata_callback() as counter:
        agent: Any = create_agent(resuming, [])
        question = {"messages": [("user", QUESTION)]}
        servers[0].fault = fault
        if isinstance(fault, faults.StreamError):
            list(agent.stream(question, stream_mode="messages"))
        else:
            await agent.ainvoke(question)

    assert list(counter.usage_metadata) == ["tiny"]
    assert counter.usage_metadata["tiny"]["input_tokens"] == 5
    assert counter.usage_metadata["tiny"]["output_tokens"] == 7


@primaries
def test_an_agent_leaves_the_trace_that_it_leaves_over_the_child(
    fault: Any, resuming: FailoverChatModel, bare: BaseChatModel, servers: Servers
) -> None:
    def trace(model: Any) -> list[Any]:
        agent: Any = create_agent(model, [Adder().tool])
        with collect_runs() as collected:
            agent.invoke({"messages": [("user", SUM)]})
        return [shape(run) for run in collected.traced_runs]

    def shape(run: Any) -> Any:
        name = "model" if run.run_type == "llm" else run.name
        return (run.run_type, name, run.error, [shape(child) for child in run.child_runs])

    theirs = trace(bare)
    servers[0].fault = fault

    assert trace(resuming) == theirs
