"""Servers, a pool of chat models over them, and the four doors into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from failover_core.testing import FaultServer
from langchain_failover import FailoverChatModel
from tests.langchain.agents import pool_over
from tests.langchain.children import openai_child

Door = Callable[..., Awaitable[Any]]


@pytest.fixture
def servers() -> Iterator[tuple[FaultServer, FaultServer]]:
    """Two servers, healthy until told otherwise."""
    with ExitStack() as stack:
        yield stack.enter_context(FaultServer()), stack.enter_context(FaultServer())


@pytest.fixture
def chat(servers: tuple[FaultServer, FaultServer]) -> FailoverChatModel:
    """A pool of chat models over both servers."""
    return FailoverChatModel.from_urls([f"{server.url}/v1" for server in servers], model="tiny")


@pytest.fixture
def resuming(servers: tuple[FaultServer, FaultServer]) -> FailoverChatModel:
    """Such a pool that resumes streams."""
    return pool_over(servers, on_broken_stream="resume")


@pytest.fixture
def bare(servers: tuple[FaultServer, FaultServer]) -> BaseChatModel:
    """The child that serves where the first server does not, by itself."""
    return openai_child(servers[1], stream_usage=True)


async def invoke(model: Runnable[Any, Any], *args: Any, **kwargs: Any) -> Any:
    return model.invoke(*args, **kwargs)


async def ainvoke(model: Runnable[Any, Any], *args: Any, **kwargs: Any) -> Any:
    return await model.ainvoke(*args, **kwargs)


async def stream(model: Runnable[Any, Any], *args: Any, **kwargs: Any) -> Any:
    first, *others = list(model.stream(*args, **kwargs))
    return sum(others, first)


async def astream(model: Runnable[Any, Any], *args: Any, **kwargs: Any) -> Any:
    first, *others = [chunk async for chunk in model.astream(*args, **kwargs)]
    return sum(others, first)


DOORS: dict[str, Door] = {one.__name__: one for one in (invoke, ainvoke, stream, astream)}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    """One of the four ways to call a chat model; each returns the whole answer."""
    return DOORS[request.param]


@pytest.fixture
def doors() -> dict[str, Door]:
    """All four, by name."""
    return DOORS
