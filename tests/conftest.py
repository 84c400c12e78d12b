"""Fixtures of the whole suite."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from failover_core import Router
from failover_core.testing import FakeClock, ScriptedClient
from failover_core.testing.fixtures import fake_clock
from tests.engine.doors import Door, Doors
from tests.figures import FULL, Figure, figure_of, table

__all__ = ["fake_clock"]

Call = Callable[..., Awaitable[Any]]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "figure: notes a figure; make test-full runs only these")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "figure" in getattr(item, "fixturenames", ()):
            item.add_marker("figure")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for group in terminalreporter.stats.values() for report in group]
    if lines := table(reports):
        terminalreporter.section("figures" if FULL else "figures (make test-full: full sizes)")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def figure(record_property: Callable[[str, Any], None]) -> Figure:
    """Return what notes figures for the table at the end of the run."""
    return figure_of(record_property)


@pytest.fixture(params=["sync", "async"])
def is_async(request: pytest.FixtureRequest) -> bool:
    """Return whether the async methods are called: the test runs with and without."""
    return bool(request.param == "async")


@pytest.fixture
def call(is_async: bool) -> Call:  # noqa: FBT001
    """Call a method of an object, or its async form: ``await call(pair, "repair", ids)``."""

    async def through(owner: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if is_async:
            return await getattr(owner, f"a{method}")(*args, **kwargs)
        return getattr(owner, method)(*args, **kwargs)

    return through


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
