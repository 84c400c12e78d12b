"""Targets that need time to boot or to load their model."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from failover_core import (
    AllTargetsFailedError,
    ConfigurationError,
    Router,
    Target,
)
from failover_core.classify import classify
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, status

LOADING = status(503, is_loading=True)


def booting(error: Exception, *, answers: int = 1_000, **settings: Any) -> Target:
    client = ScriptedClient("a", [error] * answers, default="a")
    return Target(client, name="a", **{"warmup": 90, **settings})


@pytest.mark.parametrize("error", [LOADING, REFUSED], ids=["loading", "refused"])
def test_a_target_that_boots_is_passed_over_and_not_blamed(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock, error: Exception
) -> None:
    router = pool(booting(error), "b")
    for _ in range(80):
        assert door(router, ask) == "b"
        fake_clock.advance(1)
    target = router.status()["a"]
    assert (target.failures, target.state, target.consecutive_failures) == (0, "closed", 0)
    assert 8 <= target.requests <= 25


def test_it_serves_as_soon_as_it_is_found_ready(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(booting(LOADING, answers=3), "b")
    answers = []
    for _ in range(60):
        answers.append(router.run(ask))
        fake_clock.advance(1)
    assert answers == ["b"] * answers.index("a") + ["a"] * (60 - answers.index("a"))
    assert answers.index("a") <= 30


def test_beyond_its_time_it_is_blamed_like_any_other(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(booting(LOADING), "b")
    for _ in range(200):
        router.run(ask)
        fake_clock.advance(1)
    assert router.status()["a"].state == "open"


def test_other_errors_are_blamed_at_once(pool: Callable[..., Router]) -> None:
    router = pool(booting(status(500)), "b")
    router.run(ask)
    assert router.status()["a"].failures == 1


def test_without_a_warmup_a_loading_target_is_blamed(pool: Callable[..., Router]) -> None:
    router = pool(ScriptedClient("a", [LOADING], default="a"), "b")
    router.run(ask)
    assert router.status()["a"].failures == 1


def test_when_nobody_else_can_serve_the_call_waits_for_it(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(
        booting(LOADING, answers=2), policy={"total_timeout": 60, "retry": {"attempts": 5}}
    )
    assert door(router, ask) == "a"


def test_wake_is_called_once_with_the_client_when_a_warmup_begins(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    woken, done = [], threading.Event()

    def wake(client: Any) -> None:
        woken.append((client.name, threading.current_thread().daemon))
        done.set()

    router = pool(booting(LOADING, wake=wake), "b")
    for _ in range(40):
        router.run(ask)
        fake_clock.advance(1)
    assert done.wait(10)
    assert woken == [("a", True)]


def test_wake_is_called_again_when_the_target_boots_again(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    woken = threading.Semaphore(0)
    client = ScriptedClient("a", [LOADING, "a", LOADING, "a"], default="a")
    target = Target(client, name="a", warmup=10, wake=lambda _: woken.release())
    router = pool(target, "b")
    for _ in range(30):
        router.run(ask)
        fake_clock.advance(1)
    assert woken.acquire(timeout=10)
    assert woken.acquire(timeout=10)
    assert not woken.acquire(timeout=0.05)


def test_an_error_of_wake_is_logged_and_disturbs_nobody(
    pool: Callable[..., Router], caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def wake(_: Any) -> None:
        done.set()
        message = "no such machine"
        raise RuntimeError(message)

    router = pool(booting(LOADING, wake=wake), "b")
    with caplog.at_level(logging.ERROR):
        assert router.run(ask) == "b"
        assert done.wait(10)
        for thread in threading.enumerate():
            if thread.name == "failover-wake":
                thread.join(10)
    assert "waking target 'a' failed" in caplog.text


def test_a_probe_of_a_booting_target_does_not_blame_it(pool: Callable[..., Router]) -> None:
    def check(_: Any) -> None:
        raise LOADING

    router = pool(booting(LOADING, probe=check), "b")
    for _ in range(10):
        router.probe("a")
    assert router.status()["a"].state == "closed"
    assert router.run(ask) == "b"
    assert router.status()["a"].requests == 0


@pytest.mark.parametrize(
    "words",
    [
        "Model BAAI/bge-m3 is currently loading",
        "The model is loading, please try again later",
        "Loading model",
        "Server is starting up",
        '{"error": "Model meta/llama is currently loading", "estimated_time": 20.0}',
        "model warming up",
    ],
)
def test_a_503_that_says_so_is_loading(words: str) -> None:
    class HubError(Exception):
        status_code = 503

    assert classify(HubError(words), wall=0.0).is_loading


@pytest.mark.parametrize("words", ["upstream overloaded", "no healthy upstream", ""])
def test_other_503s_are_not_loading(words: str) -> None:
    class HubError(Exception):
        status_code = 503

    assert not classify(HubError(words), wall=0.0).is_loading


def test_a_wake_without_a_warmup_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Target 'a': wake is .* it needs a warmup"):
        Target("x", name="a", wake=print)


def test_a_single_booting_target_without_time_fails_with_its_own_words(
    pool: Callable[..., Router],
) -> None:
    with pytest.raises(AllTargetsFailedError) as caught:
        pool(booting(LOADING)).run(ask)
    assert caught.value.exceptions == (LOADING,)
