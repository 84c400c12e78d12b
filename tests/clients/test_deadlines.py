"""No server, however slow, holds a call beyond its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from failover_core.clients import InfinityClient
from failover_core.engine.deadline import current_deadline
from failover_core.errors import AttemptTimeoutError
from failover_core.testing import FaultServer, faults
from tests.clients.servers import Door, RawServer, answer, vectors

OVERRUN = 0.1
"""Seconds past its deadline that a call may end."""

TRIES = 5
"""A loaded machine wakes threads late now and then; code that overruns does it each time."""

GRACE = 1.0
"""Seconds past a deadline where one try must do; the slow servers take 5 and more."""

SLOW = [
    faults.Hang(),
    faults.Hang(20),
    faults.Trickle(0.02),
    faults.Trickle(0.4),
    faults.Slow(5),
]


@pytest.mark.parametrize("fault", SLOW, ids=str)
def test_the_deadline_of_the_attempt_holds(
    door: Door, server: FaultServer, fault: faults.Fault
) -> None:
    def overrun() -> float:
        instant = time.monotonic() + 0.3
        token = current_deadline.set(instant)
        try:
            with pytest.raises(AttemptTimeoutError, match=client.name):
                door.embed(client, ["a"])
        finally:
            current_deadline.reset(token)
        return time.monotonic() - instant

    with InfinityClient(server.url, model="m") as client:
        door.embed(client, ["a"])
        server.fault = fault
        assert any(-0.01 < overrun() < OVERRUN for _ in range(TRIES))


@pytest.mark.parametrize("fault", SLOW, ids=str)
def test_without_one_the_timeout_of_the_client_is_the_deadline(
    door: Door, server: FaultServer, fault: faults.Fault
) -> None:
    server.fault = fault
    started = time.monotonic()
    client = InfinityClient(server.url, model="m", timeout=0.3)
    with client, pytest.raises(AttemptTimeoutError):
        door.embed(client, ["a"])
    assert 0.29 < time.monotonic() - started < 0.3 + GRACE


def test_a_deadline_in_the_past_sends_nothing(door: Door, server: FaultServer) -> None:
    token = current_deadline.set(time.monotonic() - 1)
    try:
        with InfinityClient(server.url, model="m") as client, pytest.raises(AttemptTimeoutError):
            door.embed(client, ["a"])
    finally:
        current_deadline.reset(token)
    assert server.requests == []


def test_a_server_that_accepts_and_never_speaks_tls_is_left_after_the_connect_timeout(
    door: Door, raw_server: Callable[..., RawServer]
) -> None:
    server = raw_server()
    url = server.url.replace("http:", "https:")
    client = InfinityClient(url, model="m", connect_timeout=0.3)
    started = time.monotonic()
    with client, pytest.raises(AttemptTimeoutError, match="could not connect"):
        door.embed(client, ["a"])
    assert time.monotonic() - started < 0.3 + GRACE


def test_a_server_that_does_not_read_holds_nobody(
    door: Door, raw_server: Callable[..., RawServer]
) -> None:
    server = raw_server(answer(vectors([1.0])), lambda _: time.sleep(5))
    client = InfinityClient(server.url, model="m", timeout=0.4)
    with client:
        door.embed(client, ["a"])
        started = time.monotonic()
        with pytest.raises(AttemptTimeoutError):
            door.embed(client, ["x" * (16 << 20)])
    assert time.monotonic() - started < 0.4 + GRACE
