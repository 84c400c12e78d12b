"""Fixtures of the whole suite."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from failover_core import Router
from failover_core.testing import FakeClock, ScriptedClient
from failover_core.testing.fixtures import fake_clock
from tests.engine.doors import Door, Doors

__all__ = ["fake_clock"]


@pytest.fixture
def doors() -> Iterator[Doors]:
    """Return all four doors of a router."""
    doors = Doors()
    yield doors
    doors.close()


@pytest.fixture(params=Doors.names)
def door(request: pytest.FixtureRequest, doors: Doors) -> Door:
    """Return one door of a router: the test runs once for each of the four."""
    return doors.named(request.param)


@pytest.fixture
def pool(fake_clock: FakeClock) -> Callable[..., Router]:
    """Build a router on the fake clock: ``pool("a", "b", policy=…)``, or of any clients."""

    def build(*clients: Any, **settings: Any) -> Router:
        targets = [
            ScriptedClient(client, default=client) if isinstance(client, str) else client
            for client in clients
        ]
        return Router(targets, **{"clock": fake_clock, "dice": random.Random(7), **settings})

    return build
