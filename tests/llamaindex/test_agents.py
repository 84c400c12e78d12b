"""Agents of every kind come to the same end, whatever becomes of the preferred LLM meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentStream,
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.memory import ChatMemoryBuffer

from failover_core.testing import FaultServer
from failover_core.testing.faults import Fault, Status, StreamEnd, StreamReset
from llamaindex_failover import FailoverLLM
from tests.llamaindex.actors import BREAKS, DEAD, Actor, Line, Rule, call
from tests.llamaindex.listening import tallied
from tests.llamaindex.tools import Weather

pytestmark = [
    pytest.mark.usefixtures("memories"),
    # LlamaIndex's memory of a conversation leaves its database open, which may answer when the
    # loop of its test is closed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:.*_connection_worker_thread:pytest.PytestUnhandledThreadExceptionWarning"
    ),
    # LlamaIndex uses methods of pydantic that pydantic deprecates.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
]

Servers = tuple[FaultServer, FaultServer]
Build = Callable[[Any, Weather], Any]

QUESTION = "What is the weather in Oslo?"
ANSWER = "It is sunny in Oslo today."


def calls_tools(said: str, tools: list[str]) -> list[Line]:
    if "sunny in" in said:
        return [ANSWER]
    if "weather" in tools:
        return ["Let me look that up.", call("weather", city="Oslo")]
    return [call("handoff", to_agent="forecaster", reason="it knows the weather")]


def reacts(said: str, _: list[str]) -> list[Line]:
    if "Observation: sunny in" in said:
        return [f"Thought: I can answer without using any more tools.\nAnswer: {ANSWER}"]
    action = 'Action: weather\nAction Input: {"city": "Oslo"}'
    return [f"Thought: I need a tool to help me.\n{action}"]


def writes_code(said: str, _: list[str]) -> list[Line]:
    return [ANSWER if "sunny in" in said else "<execute>\nprint(weather('Oslo'))\n</execute>"]


def function_agent(llm: Any, weather: Weather) -> Any:
    return FunctionAgent(tools=[weather.tool], llm=llm)


def whole_function_agent(llm: Any, weather: Weather) -> Any:
    return FunctionAgent(tools=[weather.tool], llm=llm, streaming=False)


def react_agent(llm: Any, weather: Weather) -> Any:
    return ReActAgent(tools=[weather.tool], llm=llm)


def workflow(llm: Any, weather: Weather) -> Any:
    greeter = FunctionAgent(
        name="greeter", description="Greets", llm=llm, can_handoff_to=["forecaster"]
    )
    forecaster = FunctionAgent(
        name="forecaster", description="Knows the weather", llm=llm, tools=[weather.tool]
    )
    return AgentWorkflow(agents=[greeter, forecaster], root_agent="greeter")


def code_agent(llm: Any, weather: Weather) -> Any:
    async def execute(code: str) -> str:
        assert code == "print(weather('Oslo'))"
        return weather.weather("Oslo")

    return CodeActAgent(code_execute_fn=execute, tools=[weather.tool], llm=llm)


KINDS: dict[str, tuple[Build, Rule]] = {
    "function agent": (function_agent, calls_tools),
    "function agent, not streaming": (whole_function_agent, calls_tools),
    "ReAct agent": (react_agent, reacts),
    "workflow": (workflow, calls_tools),
    "code agent": (code_agent, writes_code),
}
STREAMING = {name: kind for name, kind in KINDS.items() if "not streaming" not in name}

each_kind = pytest.mark.parametrize(("build", "rule"), KINDS.values(), ids=KINDS)
each_streaming_kind = pytest.mark.parametrize(("build", "rule"), STREAMING.values(), ids=STREAMING)


class Deadly(Weather):
    """A weather tool whose execution makes an LLM fail from then on."""

    def __init__(self, victim: Actor, fault: str) -> None:
        super().__init__()
        self._victim, self._fault = victim, fault

    def weather(self, city: str) -> str:
        """Tell the weather of a city."""
        self._victim.fault = self._fault
        return super().weather(city)


async def outcome(agent: Any) -> tuple[str, list[str], str]:
    """Return an agent's answer, the outputs of its tools, and all that it streamed."""
    handler = agent.run(QUESTION)
    outputs, streamed = [], ""
    async for event in handler.stream_events():
        if isinstance(event, ToolCallResult):
            outputs.append(str(event.tool_output))
        if isinstance(event, AgentStream):
            streamed += event.delta
    return str((await handler).response.content), outputs, streamed


@each_kind
@pytest.mark.parametrize("fault", ["", DEAD])
async def test_an_agent_over_a_pool_does_what_it_does_over_the_bare_llm(
    build: Build, rule: Rule, fault: str
) -> None:
    weather = Weather()
    expected = await outcome(build(Actor(rule), Weather()))
    pool = FailoverLLM(targets=[Actor(rule, fault), Actor(rule)])

    assert await outcome(build(pool, weather)) == expected
    assert weather.executions == 1
    assert ANSWER in expected[0]


@each_kind
async def test_an_llm_that_dies_between_the_tool_call_and_the_answer_is_replaced(
    build: Build, rule: Rule
) -> None:
    first, second = Actor(rule), Actor(rule)
    expected = await outcome(build(Actor(rule), Weather()))
    weather = Deadly(first, DEAD)

    pool = FailoverLLM(targets=[first, second])

    assert await outcome(build(pool, weather)) == expected
    assert weather.executions == 1
    assert second.asked == 1


@each_kind
async def test_after_an_llm_has_returned_it_reads_what_the_other_one_called(
    build: Build, rule: Rule
) -> None:
    first = Actor(rule, DEAD)
    weather = Deadly(first, "")

    pool = FailoverLLM(targets=[first, Actor(rule)])

    assert ANSWER in (await outcome(build(pool, weather)))[0]
    assert weather.executions == 1
    assert pool.router.status().requests == pool.router.status().succeeded


@each_streaming_kind
async def test_a_stream_that_breaks_ends_the_run_before_a_tool_is_executed(
    build: Build, rule: Rule
) -> None:
    weather = Weather()
    pool = FailoverLLM(targets=[Actor(rule, BREAKS), Actor(rule)])

    with pytest.raises(ConnectionError):
        await outcome(build(pool, weather))

    assert not weather.executions


@each_streaming_kind
@pytest.mark.parametrize("when", ["from the start", "after the tool"])
async def test_a_stream_that_breaks_may_be_resumed(build: Build, rule: Rule, when: str) -> None:
    first = Actor(rule, BREAKS if when == "from the start" else "")
    weather = Deadly(first, BREAKS)
    expected = await outcome(build(Actor(rule), Weather()))

    pool = FailoverLLM(targets=[first, Actor(rule)], policy={"on_broken_stream": "resume"})

    assert await outcome(build(pool, weather)) == expected
    assert weather.executions == 1


@each_kind
async def test_a_conversation_goes_on_at_another_llm(build: Build, rule: Rule) -> None:
    first = Actor(rule)
    agent = build(FailoverLLM(targets=[first, Actor(rule)]), Weather())
    memory = ChatMemoryBuffer.from_defaults(token_limit=1_000)

    await agent.run(QUESTION, memory=memory)
    first.fault = DEAD

    assert ANSWER in str((await agent.run("And now?", memory=memory)).response.content)
    assert "failover" not in repr(memory.get_all())


@each_kind
async def test_events_and_tokens_of_a_run_are_those_of_the_bare_llm(
    build: Build, rule: Rule
) -> None:
    counted = []
    for llm in (Actor(rule), FailoverLLM(targets=[Actor(rule), Actor(rule)])):
        tokens = TokenCountingHandler(tokenizer=str.split)
        tally, _ = tallied()
        llm.callback_manager = CallbackManager([tokens, tally])
        await outcome(build(llm, Weather()))
        counted.append((tally.starts, tally.ends, tokens.total_llm_token_count))

    assert counted[0] == counted[1]
    assert counted[0][2] > 0


@pytest.mark.parametrize(
    "agent",
    [function_agent, whole_function_agent],
    ids=["streaming", "whole"],
)
async def test_a_server_that_dies_while_a_tool_runs_is_replaced(
    servers: Servers, llm_over: Callable[..., FailoverLLM], agent: Build
) -> None:
    class Killing(Weather):
        def weather(self, city: str) -> str:
            """Tell the weather of a city."""
            servers[0].stop()
            return super().weather(city)

    weather = Killing()
    llm = llm_over(servers, is_function_calling_model=True)

    answer, outputs, _ = await outcome(agent(llm, weather))

    assert outputs == [answer]
    assert weather.executions == 1
    (asked,) = servers[1].requests
    assert [one["role"] for one in asked.body["messages"]] == ["user", "assistant", "tool"]


@pytest.mark.parametrize("fault", [StreamReset(1), StreamEnd(1)], ids=["reset", "cut off"])
@pytest.mark.parametrize("policy", [{}, {"on_broken_stream": "resume"}], ids=["raise", "resume"])
async def test_a_servers_stream_that_breaks_costs_no_tool_call(
    servers: Servers, llm_over: Callable[..., FailoverLLM], fault: Fault, policy: dict[str, str]
) -> None:
    servers[0].script([None, fault])  # the tool call comes whole, the answer does not
    weather = Weather()
    llm = llm_over(servers, is_function_calling_model=True, policy=policy)
    agent = function_agent(llm, weather)

    if policy:
        answer, outputs, streamed = await outcome(agent)
        assert outputs == [answer] == [streamed]
    else:
        with pytest.raises(Exception, match=r"finish reason|connection"):
            await outcome(agent)
    assert weather.executions == 1


async def test_when_all_servers_fail_the_run_ends_with_what_each_said(
    servers: Servers, llm_over: Callable[..., FailoverLLM]
) -> None:
    servers[0].fault = servers[1].fault = Status(500)
    agent = function_agent(llm_over(servers, is_function_calling_model=True), Weather())

    with pytest.raises(Exception, match="every target failed"):
        await outcome(agent)
