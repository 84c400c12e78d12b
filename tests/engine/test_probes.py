"""Probes of ejected targets, as calls meet them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from failover_core import Router
from failover_core.testing import FakeClock
from tests.engine.doors import ask, fail_first, status
from tests.figures import Figure


def test_of_64_threads_at_half_open_one_probes(
    pool: Callable[..., Router], fake_clock: FakeClock, figure: Figure
) -> None:
    router = pool("a", "b")
    fail_first(router, 5)
    fake_clock.advance(5)
    together, sends = threading.Barrier(64), []

    def behave(client: Any) -> str:
        sends.append(client.name)
        together.wait(10)
        return "answer"

    threads = [threading.Thread(target=router.run, args=(behave,)) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figure("threads at half-open", threads=64, probes=sends.count("a"))
    assert sorted(sends) == ["a"] + ["b"] * 63


def test_a_probe_of_a_bad_request_lets_the_next_call_probe(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b")
    fail_first(router, 5)
    fake_clock.advance(5)

    def behave(client: Any) -> Any:
        raise status(400)

    for _ in range(3):
        with pytest.raises(type(status(400))):
            router.run(behave)
    assert router.status()["b"].requests == 5
    assert [router.run(ask), router.run(ask)] == ["a", "a"]
    assert router.status()["a"].state == "closed"


def test_a_throttled_probe_is_no_failed_probe(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b")
    fail_first(router, 5)
    fake_clock.advance(5)

    def behave(client: Any) -> Any:
        if client.name == "a":
            raise status(429, retry_after="1")
        return "b"

    assert router.run(behave) == "b"
    fake_clock.advance(1.2)
    assert router.run(ask) == "a"


def test_cancellations_of_users_never_open_a_breaker(pool: Callable[..., Router]) -> None:
    router = pool("a", "b")

    def behave(client: Any) -> Any:
        raise KeyboardInterrupt

    for _ in range(50):
        with pytest.raises(KeyboardInterrupt):
            router.run(behave)
    found = router.status()["a"]
    assert (found.state, found.failures, found.in_flight, found.requests) == ("closed", 0, 0, 50)


def test_an_ejected_target_does_not_condemn_its_siblings(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c")
    fail_first(router, 5)
    states = [target.state for target in router.status().targets]
    assert states == ["open", "closed", "closed"]


def test_streams_longer_than_the_lease_of_a_probe_still_bring_a_target_back(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"attempt_timeout": 2})
    fail_first(router, 5)
    fake_clock.advance(5)
    streams = []
    for _ in range(12):  # a call every 5 s, each stream lasts 20 s
        streams.append(iter(router.stream(lambda client: iter([client.name] * 2))))
        next(streams[-1])
        fake_clock.advance(5)
        for stream in streams[:-3]:
            next(stream, None)
            next(stream, None)
    assert router.status()["a"].state == "closed"
    for stream in streams:
        assert list(stream) in ([], ["a"], ["b"])


def test_a_failed_probe_is_not_sent_again_at_the_users_expense(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"retry": {"attempts": 3, "prefer": "retry"}})
    fail_first(router, 2)  # three sends, and two more
    assert router.status()["a"].requests == 5
    fake_clock.advance(5)
    fail_first(router, 1)
    assert router.status()["a"].requests == 6
    assert not router.status().failed
