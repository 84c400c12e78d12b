"""Two real servers for the whole session, both alive at the start of every test."""

from __future__ import annotations

import pydoc_data.topics
from collections.abc import Iterator

import pytest

from scripts.real_servers import RealServers, install


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
