"""What failover adds to a chat call of LangChain while all is well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from benchmarks.harness.comparing import jobs_plot, jobs_table
from benchmarks.harness.processes import Worker, worker
from benchmarks.harness.records import Effort, Goal, Plot, Section, Table
from benchmarks.harness.turns import Laps, Turn, take_turns
from benchmarks.peers.chat import (
    LANGCHAIN_LITELLM,
    LITELLM,
    PYPI,
    Chat,
    chat_turn,
    model,
    of_agent,
    of_langchain,
    peer_turn,
)
from benchmarks.peers.jobs import Job
from benchmarks.scenarios.healthy import section
from benchmarks.servers import server
from langchain_failover import FailoverChatModel

TEXT = """
A model that does nothing shows the overhead at its largest; over HTTP it is what an application
pays. Pools have two targets, models no retries of their own. litellm, and the distribution
langchain-failover of PyPI whose import name is ours, run in processes of their own.
"""

BARE = "bare"
TOOL = {"name": "look_up", "description": "Looks up a word.", "parameters": {}}
OURS = "FailoverChatModel"
EJECTED = "FailoverChatModel, primary ejected"
FALLBACKS = "with_fallbacks"
FALLEN = "with_fallbacks, primary down"
MIDDLEWARE = "ModelFallbackMiddleware"

IDLE = (BARE, OURS, EJECTED, FALLBACKS, FALLEN, PYPI)
HTTP = (*IDLE, LANGCHAIN_LITELLM, LITELLM)
AGENTS = (BARE, OURS, MIDDLEWARE)
_IDLE_WHY = (
    "a pool adds some 25 µs (the engine 11, the child and the begin 5, what LangChain is told for "
    "tracing 4, the report 4) and 0.2 µs a chunk, which shows beside a model that does nothing"
)
_HTTP_WHY = (
    "512 at once: with the garbage collector off, which walks through the calls in flight, both "
    "take as long"
)
WHY = {"idle": _IDLE_WHY, "tools": _IDLE_WHY, "agent": _IDLE_WHY, "http": _HTTP_WHY}
"""Why the goal may be missed, in each table."""

Found = dict[str, dict[str, Laps]]


def jobs(effort: Effort, calls: int) -> list[Job]:
    """Return the jobs of every model: so many plain calls in a turn, of streams fewer."""
    few, fewer = max(calls // 5, 2), max(calls // 20, 1)
    plain = [
        Job("invoke", "invoke", calls),
        Job("ainvoke", "ainvoke", calls, is_async=True),
        Job("stream, 20 chunks", "stream", few, size=20),
        Job("astream, 20 chunks", "astream", few, size=20, is_async=True),
    ]
    long = [
        Job("stream, 200 chunks", "stream", fewer, size=200),
        Job("astream, 200 chunks", "astream", fewer, size=200, is_async=True),
    ]
    return [*plain, *long] if effort is Effort.FULL else [plain[0], plain[1], long[0]]


def crowds(effort: Effort) -> list[Job]:
    """Return the jobs of many calls at once."""
    return [
        Job("ainvoke, 64 at once", "ainvoke", effort.of(256, quick=64), at_once=64, is_async=True),
        Job("ainvoke, 512 at once", "ainvoke", 512, at_once=512, is_async=True),
    ][: effort.of(2, quick=1)]


def measure(effort: Effort) -> Section:
    """Measure idle models, real ones over HTTP, and agents."""
    return section("chat models of LangChain", TEXT, _shown_by(effort))


def _shown_by(effort: Effort) -> Iterator[tuple[Table, Plot]]:
    with _peers() as workers, server() as running:
        rounds = effort.of(31, quick=3)
        idle = {job.name: _found("", job, workers, rounds) for job in jobs(effort, 100)}
        yield _shown("idle", "LangChain, a chat model that does nothing", idle, IDLE)
        bound = {job.name: _bound(job, rounds) for job in jobs(effort, 100)[:3]}
        yield _shown("tools", "The same with tools bound", bound, IDLE[:-1])
        rounds, calls = effort.of(11, quick=1), effort.of(20, quick=10)
        http = {job.name: _found(running.url, job, workers, rounds) for job in jobs(effort, calls)}
        rounds = effort.of(3, quick=1)
        for job in crowds(effort):
            http[job.name] = _found(running.url, job, workers, rounds)
        yield _shown("http", "LangChain, ChatOpenAI and a local server", http, HTTP)
    agents = {job.name: _agents(job, effort) for job in jobs(effort, 10)[:2]}
    yield _shown("agent", "LangChain, an agent around a model that does nothing", agents, AGENTS)


def _shown(name: str, title: str, found: Found, names: tuple[str, ...]) -> tuple[Table, Plot]:
    goals = dict.fromkeys((OURS, EJECTED), Goal(at_most=1.05, why=WHY[name]))
    table = jobs_table(title, BARE, found, names, goals)
    return table, jobs_plot(name, title, BARE, found, names)


@contextmanager
def _peers() -> Iterator[Mapping[str, Worker]]:
    """Start the processes of those that are not to be imported here."""
    with ExitStack() as stack:
        litellm = stack.enter_context(worker())
        pypi = stack.enter_context(worker("langchain-failover"))
        yield {LITELLM: litellm, LANGCHAIN_LITELLM: litellm, PYPI: pypi}


def _found(url: str, job: Job, workers: Mapping[str, Worker], rounds: int) -> dict[str, Laps]:
    chats = contestants(lambda **down: model(url, job.size, **down))
    turns: dict[str, Turn | None] = {name: chat_turn(chat, job) for name, chat in chats.items()}
    for name in HTTP if url else IDLE:
        if name in workers:
            turns[name] = workers[name].turn(peer_turn, name, url, job)
    return take_turns(turns, rounds)


def _bound(job: Job, rounds: int) -> dict[str, Laps]:
    chats = contestants(lambda **down: model("", job.size, **down), [TOOL])
    return take_turns({name: chat_turn(chat, job) for name, chat in chats.items()}, rounds)


def contestants(build: Any, tools: Sequence[Any] = ()) -> dict[str, Chat]:
    """Return who can be measured in this process, each around models of its own."""
    breaker = {"consecutive_failures": 1, "cooldown": 3600, "max_cooldown": 3600}
    ejected = FailoverChatModel(targets=[build(is_down=True), build()], policy={"breaker": breaker})
    ejected.invoke("this ejects the first one")
    found = {
        BARE: build(),
        OURS: FailoverChatModel(targets=[build(), build()]),
        EJECTED: ejected,
        FALLBACKS: build().with_fallbacks([build()]),
        FALLEN: build(is_down=True).with_fallbacks([build()]),
    }
    return {
        name: of_langchain(one.bind_tools(tools) if tools else one) for name, one in found.items()
    }


def _agents(job: Job, effort: Effort) -> dict[str, Laps]:
    try:
        create = import_module("langchain.agents").create_agent
        fallback = import_module("langchain.agents.middleware").ModelFallbackMiddleware
    except ImportError:
        return {}
    agents = {
        BARE: create(model("", 1)),
        OURS: create(FailoverChatModel(targets=[model("", 1), model("", 1)])),
        MIDDLEWARE: create(model("", 1), middleware=[fallback(model("", 1))]),
    }
    turns = {name: chat_turn(of_agent(agent), job) for name, agent in agents.items()}
    return take_turns(turns, effort.of(21, quick=2))
