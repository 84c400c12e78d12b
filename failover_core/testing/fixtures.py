"""Fixtures for pytest, found by themselves where the distribution is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from failover_core.testing.clock import FakeClock
from failover_core.testing.server import FaultServer


@pytest.fixture
def fault_servers() -> Iterator[Callable[..., list[FaultServer]]]:
    """Start servers: ``fault_servers(3, dimension=64)`` returns three, closed after the test."""
    with ExitStack() as stack:

        def start(number: int = 1, **settings: Any) -> list[FaultServer]:
            return [stack.enter_context(FaultServer(**settings)) for _ in range(number)]

        yield start


@pytest.fixture
def fault_server(fault_servers: Callable[..., list[FaultServer]]) -> FaultServer:
    """Start one server with default settings, closed after the test."""
    return fault_servers(1)[0]


@pytest.fixture
def fake_clock() -> FakeClock:
    """Return a clock that moves only when it is told to, or slept on."""
    return FakeClock()
