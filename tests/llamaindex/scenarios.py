"""Agents at work: what they are asked, how their LLM acts, and what they let their caller see."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.agent.workflow import (
    AgentInput,
    AgentOutput,
    AgentStream,
    AgentStreamStructuredOutput,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCall,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.memory import ChatMemoryBuffer, Memory
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from llama_index.core.workflow.errors import WorkflowRuntimeError  # type: ignore[attr-defined]
from pydantic import BaseModel

from tests.llamaindex.actors import Line, call

OSLO = "What is the weather in 'Oslo'?"


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


@dataclass
class Play:
    """What an agent's caller saw of its work.

    Attributes:
        seen: one line for each event of the agent's stream, and for the end.
        done: what the tools did.
    """

    seen: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def weather(self, city: str) -> str:
        """Tell the weather of a city."""
        self.done.append(city)
        return f"sunny in {city}"

    def broken_weather(self, city: str) -> str:
        """Tell the weather of a city."""
        self.done.append(city)
        message = f"no station in {city}"
        raise ValueError(message)

    async def follow(self, handler: Any) -> None:
        """Note what an agent lets its caller see, and answer what he is asked."""
        async for event in handler.stream_events():
            self.seen.extend(_lines(event))
            if isinstance(event, InputRequiredEvent):
                assert json.dumps(handler.ctx.to_dict())
                handler.ctx.send_event(HumanResponseEvent(response="sunny"))
        try:
            result = await handler
        except WorkflowRuntimeError as error:
            self.seen.append(f"error {error}")
        else:
            self.seen.append(f"end {result.response.content} {result.structured_response}")


def _lines(event: Any) -> Iterator[str]:
    name = type(event).__name__
    match event:
        case AgentInput():
            yield f"{name} {event.current_agent_name} {[one.content for one in event.input]}"
        case AgentStream():
            yield f"{name} {event.delta!r} {event.thinking_delta!r} {_calls(event.tool_calls)}"
        case AgentOutput():
            yield f"{name} {event.response.content!r} {_calls(event.tool_calls)}"
        case ToolCallResult():
            output = event.tool_output
            yield f"{name} {event.tool_name} {output.content!r} {output.is_error}"
        case ToolCall():
            yield f"{name} {event.tool_name} {event.tool_kwargs}"
        case AgentStreamStructuredOutput():
            yield f"{name} {event.output}"
        case _:
            yield name


def _calls(calls: Any) -> list[tuple[str, Any]]:
    return [(one.tool_name, one.tool_kwargs) for one in calls]


# How their LLM acts


def calls_once(said: str, tools: list[str]) -> list[Line]:
    """Call what can tell the weather, and answer when it has."""
    if "sunny in" in said:
        return ["It is sunny in Oslo today."]
    if "no station" in said:
        return ["Nobody knows."]
    named = [name for name in tools if "weather" in name]
    if named:
        return ["Let me look.", call(named[0], city="Oslo")]
    return [call("handoff", to_agent="forecaster", reason="it knows")] if tools else ["Well."]


def calls_twice(said: str, _: list[str]) -> list[Line]:
    """Call a tool for two cities at once."""
    if "sunny in Oslo" in said and "sunny in Rome" in said:
        return ["Sunny in both."]
    rome = call("weather", city="Rome")
    rome.tool_call_id = "call-rome"
    return [call("weather", city="Oslo"), rome]


def never_rests(said: str, tools: list[str]) -> list[Line]:
    """Call a tool whatever it said, until it is told to come to an end."""
    return [call("weather", city="Oslo")] if tools else ["That is all I know."]


def invents_a_tool(said: str, _: list[str]) -> list[Line]:
    return ["There is none."] if "not found" in said else [call("horoscope", sign="lion")]


def hands_off_to_nobody(said: str, _: list[str]) -> list[Line]:
    if "not found" in said:
        return ["Then I am stuck."]
    return [call("handoff", to_agent="nobody", reason="why not")]


def thinks(*_: Any) -> list[Line]:
    return [ThinkingBlock(content="Hm, hm."), "Forty-two."]


def only_thinks(*_: Any) -> list[Line]:
    return [ThinkingBlock(content="Forty-two.")]


def says_nothing(*_: Any) -> list[Line]:
    return [""]


def fills_in(said: str, tools: list[str]) -> list[Line]:
    """Answer, and call the schema as a tool when it is offered."""
    if "City" in tools:
        return [call("City", name="Oslo", inhabitants=720_000)]
    return calls_once(said, tools)


def stumbles(said: str, _: list[str]) -> list[Line]:
    """React in a form that cannot be read, then say nothing, then do better."""
    if "Observation: sunny in" in said:
        return ["Thought: I can answer without using any more tools.\nAnswer: It is sunny."]
    if "previous response was empty" in said:
        return ['Thought: Again.\nAction: weather\nAction Input: {"city": "Oslo"}']
    if "Error while parsing" in said:
        return [""]
    return ['Thought: I need a tool.\nAction: weather\n{"city" "Oslo"}']


# What they are asked


async def two_calls_at_once(llm: Any, play: Play) -> None:
    await play.follow(FunctionAgent(tools=[play.weather], llm=llm).run(OSLO))
    play.done.sort()
    play.seen.sort()


async def one_call_at_a_time(llm: Any, play: Play) -> None:
    agent = FunctionAgent(
        tools=[play.weather],
        llm=llm,
        allow_parallel_tool_calls=False,
        initial_tool_choice="weather",
    )
    await play.follow(agent.run(OSLO))


async def a_tool_that_has_the_last_word(llm: Any, play: Play) -> None:
    tool = FunctionTool.from_defaults(play.weather, return_direct=True)
    await play.follow(FunctionAgent(tools=[tool], llm=llm).run(OSLO))


async def a_tool_that_fails(llm: Any, play: Play) -> None:
    for is_last in (False, True):
        tool = FunctionTool.from_defaults(play.broken_weather, return_direct=is_last)
        await play.follow(FunctionAgent(tools=[tool], llm=llm).run(OSLO))


async def a_tool_that_does_not_exist(llm: Any, play: Play) -> None:
    await play.follow(FunctionAgent(tools=[play.weather], llm=llm).run("Am I lucky?"))


async def too_many_steps(llm: Any, play: Play) -> None:
    agent = FunctionAgent(tools=[play.weather], llm=llm)
    workflow = AgentWorkflow(agents=[agent], early_stopping_method="generate")
    await play.follow(agent.run(OSLO, max_iterations=2))
    await play.follow(agent.run(OSLO, max_iterations=2, early_stopping_method="generate"))
    await play.follow(workflow.run(OSLO, max_iterations=2))


async def handed_off(llm: Any, play: Play) -> None:
    greeter = FunctionAgent(name="greeter", description="Greets", llm=llm)
    forecaster = FunctionAgent(
        name="forecaster", description="Knows weather", llm=llm, tools=[play.weather]
    )
    workflow = AgentWorkflow(agents=[greeter, forecaster], root_agent="greeter")
    await play.follow(workflow.run("Please handoff to 'forecaster'."))


async def handed_off_to_nobody(llm: Any, play: Play) -> None:
    one, two = (FunctionAgent(name=name, description="-", llm=llm) for name in ("one", "two"))
    await play.follow(AgentWorkflow(agents=[one, two], root_agent="one").run("Hello"))


async def an_object_in_the_end(llm: Any, play: Play) -> None:
    agent = FunctionAgent(tools=[play.weather], llm=llm, output_cls=City)
    await play.follow(agent.run(OSLO))
    workflow = AgentWorkflow.from_tools_or_functions([play.weather], llm=llm, output_cls=City)
    await play.follow(workflow.run(OSLO))


async def an_object_of_a_function(llm: Any, play: Play) -> None:
    def make(messages: Any) -> dict[str, Any]:
        return {"messages": len(messages)}

    agent = FunctionAgent(tools=[play.weather], llm=llm, structured_output_fn=make)
    await play.follow(agent.run(OSLO))


async def thoughts(llm: Any, play: Play) -> None:
    for is_streaming in (True, False):
        agent = FunctionAgent(tools=[play.weather], llm=llm, streaming=is_streaming)
        await play.follow(agent.run("What is the answer?"))
    await play.follow(ReActAgent(llm=llm).run("What is the answer?", max_iterations=2))


async def silence(llm: Any, play: Play) -> None:
    for is_streaming in (True, False):
        agent = FunctionAgent(llm=llm, streaming=is_streaming)
        await play.follow(agent.run("Hello"))


async def steps_that_cannot_be_read(llm: Any, play: Play) -> None:
    await play.follow(ReActAgent(tools=[play.weather], llm=llm).run(OSLO))


async def memories(llm: Any, play: Play) -> None:
    agent = FunctionAgent(tools=[play.weather], llm=llm, system_prompt="Be brief.")
    buffer: Any = ChatMemoryBuffer.from_defaults()
    for memory in (buffer, Memory.from_defaults(session_id="s", token_limit=1_000)):
        await play.follow(agent.run(OSLO, memory=memory))
        await play.follow(agent.run("And now?", memory=memory))
        kept = await memory.aget_all()
        play.seen.extend(
            f"{one.role} {one.content} {sorted(one.additional_kwargs)}" for one in kept
        )


async def one_context_for_two_runs(llm: Any, play: Play) -> None:
    agent = FunctionAgent(tools=[play.weather], llm=llm)
    context = Context(agent)
    await play.follow(agent.run(OSLO, ctx=context))
    await play.follow(agent.run("And now?", ctx=context))


async def a_state(llm: Any, play: Play) -> None:
    async def weather(city: str, context: Context) -> str:
        """Tell the weather of a city."""
        state = await context.store.get("state")
        state["asked"] += 1
        await context.store.set("state", state)
        return play.weather(city)

    weather.__annotations__["context"] = Context  # LlamaIndex does not read it out of a string
    agent = FunctionAgent(tools=[weather], llm=llm)
    workflow = AgentWorkflow(
        agents=[agent], initial_state={"asked": 0}, state_prompt="State: {state}. Asked: {msg}"
    )
    handler = workflow.run(OSLO)
    await play.follow(handler)
    assert handler.ctx is not None
    play.done.append(str(await handler.ctx.store.get("state")))


async def a_human_is_asked(llm: Any, play: Play) -> None:
    async def weather(city: str, context: Context) -> str:
        """Tell the weather of a city."""
        answer = await context.wait_for_event(
            HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="Look outside!")
        )
        return f"{answer.response} in {city}"

    weather.__annotations__["context"] = Context  # LlamaIndex does not read it out of a string
    workflow = AgentWorkflow(agents=[FunctionAgent(tools=[weather], llm=llm)])
    await play.follow(workflow.run(OSLO))


@dataclass(frozen=True)
class Scenario:
    """A piece of work for an agent.

    Attributes:
        play: has it done by agents over an LLM.
        rule: by which their LLM acts.
        shows: what is seen of it, if all goes well.
    """

    play: Callable[[Any, Play], Awaitable[None]]
    rule: Callable[[str, list[str]], list[Line]]
    shows: str


SCENARIOS = [
    Scenario(two_calls_at_once, calls_twice, "end Sunny in both."),
    Scenario(one_call_at_a_time, calls_once, "end It is sunny in Oslo today."),
    Scenario(a_tool_that_has_the_last_word, calls_once, "end sunny in Oslo"),
    Scenario(a_tool_that_fails, calls_once, "end Nobody knows."),
    Scenario(a_tool_that_does_not_exist, invents_a_tool, "end There is none."),
    Scenario(too_many_steps, never_rests, "error Max iterations of 2 reached"),
    Scenario(handed_off, calls_once, "end It is sunny in Oslo today."),
    Scenario(handed_off_to_nobody, hands_off_to_nobody, "end Then I am stuck."),
    Scenario(an_object_in_the_end, fills_in, "'inhabitants': 720000"),
    Scenario(an_object_of_a_function, calls_once, "{'messages': 4}"),
    Scenario(thoughts, thinks, "AgentStream '' 'Hm, hm.'"),
    Scenario(thoughts, only_thinks, "AgentStream '' 'Forty-two.'"),
    Scenario(silence, says_nothing, "end  None"),
    Scenario(steps_that_cannot_be_read, stumbles, "Error while parsing"),
    Scenario(memories, calls_once, "end It is sunny in Oslo today."),
    Scenario(one_context_for_two_runs, calls_once, "end It is sunny in Oslo today."),
    Scenario(a_state, calls_once, "State: {'asked': 0}"),
    Scenario(a_human_is_asked, calls_once, "end It is sunny in Oslo today."),
]
