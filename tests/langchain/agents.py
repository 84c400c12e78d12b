"""Agents and graphs under test: what they are asked, a tool that counts, and the ways in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool, tool

from failover_core.testing import FaultServer
from langchain_failover import FailoverChatModel

Ask = Callable[..., Awaitable[list[BaseMessage]]]

SUM = "Please run add_numbers on 3 and 4"
"""A question for which the test server calls ``add_numbers``, and then answers with its result."""

UNTOLD = {"id", "created", "run_id", "system_fingerprint"}


@dataclass
class Adder:
    """A tool that notes its runs, and what is to happen during one."""

    meanwhile: Callable[[], Any] = lambda: None
    runs: list[tuple[int, int]] = field(default_factory=list)

    @property
    def tool(self) -> BaseTool:
        @tool
        def add_numbers(first: int, second: int) -> int:
            """Add two numbers."""
            self.runs.append((first, second))
            self.meanwhile()
            return first + second

        return add_numbers


async def invoke(agent: Any, question: Any = SUM, config: Any = None) -> list[BaseMessage]:
    return agent.invoke(asked(question), config)["messages"]  # type: ignore[no-any-return]


async def ainvoke(agent: Any, question: Any = SUM, config: Any = None) -> list[BaseMessage]:
    return (await agent.ainvoke(asked(question), config))["messages"]  # type: ignore[no-any-return]


async def stream(agent: Any, question: Any = SUM, config: Any = None) -> list[BaseMessage]:
    parts = agent.stream(asked(question), config, stream_mode=["messages", "values"])
    return _last_state(list(parts))


async def astream(agent: Any, question: Any = SUM, config: Any = None) -> list[BaseMessage]:
    parts = agent.astream(asked(question), config, stream_mode=["messages", "values"])
    return _last_state([part async for part in parts])


def asked(question: Any) -> Any:
    """Return what a graph is given for a question; a command is given as it is."""
    return {"messages": [("user", question)]} if isinstance(question, str) else question


def _last_state(parts: list[Any]) -> list[BaseMessage]:
    return [state for mode, state in parts if mode == "values"][-1]["messages"]  # type: ignore[no-any-return]


WAYS: dict[str, Ask] = {one.__name__: one for one in (invoke, ainvoke, stream, astream)}
"""The ways to ask an agent; each returns the messages of the whole conversation."""


def servers_of(messages: list[BaseMessage]) -> list[str]:
    """Return the name of the target that gave each of a conversation's answers."""
    reports = [message.response_metadata.get("failover") for message in messages]
    return [report["target"] for report in reports if report]


def names_of(model: Any) -> list[str]:
    """Return the names of a pool's targets."""
    return [target.name for target in model.router.targets]


def told(message: BaseMessage) -> dict[str, Any]:
    """Return a message without what differs between two calls, and without the report."""
    data = message.model_dump(exclude={"id"})
    known = data["response_metadata"]
    data["response_metadata"] = {
        name: value for name, value in known.items() if name not in {*UNTOLD, "failover"}
    }
    for call in [*data.get("tool_calls", []), *data.get("tool_call_chunks", [])]:
        call.pop("id")
    data.pop("tool_call_id", None)
    return data


def pool_over(servers: Sequence[FaultServer], **policy: Any) -> FailoverChatModel:
    """Return a pool of chat models over servers."""
    urls = [f"{server.url}/v1" for server in servers]
    return FailoverChatModel.from_urls(urls, model="tiny", policy=policy)
