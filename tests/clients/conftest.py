"""The doors, and servers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from failover_core.testing import FaultServer
from failover_core.testing.fixtures import fault_server, fault_servers
from tests.clients.servers import Door, RawServer, Reply

__all__ = ["fault_server", "fault_servers"]


@pytest.fixture(params=["sync", "async"])
def door(request: pytest.FixtureRequest) -> Iterator[Door]:
    if request.param == "sync":
        yield Door()
    else:
        with asyncio.Runner() as runner:
            yield Door(runner)


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    with ExitStack() as stack:

        def start(*replies: Reply, context: ssl.SSLContext | None = None) -> RawServer:
            server = RawServer(list(replies), context)
            stack.callback(server.close)
            return server

        yield start


@pytest.fixture
def server(fault_server: FaultServer) -> FaultServer:
    return fault_server
