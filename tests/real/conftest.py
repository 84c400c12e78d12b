"""Two real servers for the whole session, both alive at the start of every test."""

from __future__ import annotations

import asyncio
import pydoc_data.topics
from collections.abc import Iterator

import pytest

from scripts.real_servers import RealServers, install
from tests.real.doors import Door, LangChainDoor, LlamaIndexDoor


@pytest.fixture(scope="session")
def running_servers() -> Iterator[RealServers]:
    with RealServers(install()) as servers:
        yield servers


@pytest.fixture
def real(running_servers: RealServers) -> RealServers:
    for server in running_servers.servers:
        server.become(is_impostor=False)
    running_servers.ready()
    return running_servers


@pytest.fixture(scope="session")
def passages() -> list[str]:
    """600 different paragraphs of the language reference that every Python carries."""
    paragraphs = (
        paragraph.strip()
        for topic in pydoc_data.topics.topics.values()
        for paragraph in topic.split("\n\n")
    )
    return list(dict.fromkeys(text for text in paragraphs if 50 < len(text) < 150))[:600]


@pytest.fixture(params=["sync", "async"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner | None]:
    """None where the sync methods are called."""
    if request.param == "sync":
        yield None
        return
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(params=[LangChainDoor, LlamaIndexDoor])
def door(
    request: pytest.FixtureRequest, real: RealServers, runner: asyncio.Runner | None
) -> Iterator[Door]:
    """Either framework over the two servers."""
    door: Door = request.param(real.urls, runner)
    yield door
    for router in door.routers:
        if runner:
            runner.run(router.aclose())
        else:
            router.close()
