"""What each class of error leaves on its target, and where the call goes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import pytest

from failover_core import ErrorClass, MalformedResponseError, ResponseStatusError, Router
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import Door, ask, status, trace

MOVES_ON = [
    (ErrorClass.CONNECTION, ConnectionResetError("reset"), "failure"),
    (ErrorClass.TIMEOUT, TimeoutError("silent"), "failure"),
    (ErrorClass.TIMEOUT, status(408), "failure"),
    (ErrorClass.SERVER_ERROR, status(500), "failure"),
    (ErrorClass.SERVER_ERROR, status(529), "failure"),
    (ErrorClass.MALFORMED, MalformedResponseError("not JSON"), "failure"),
    (ErrorClass.MODEL_NOT_FOUND, status(404), "failure"),
    (ErrorClass.UNKNOWN, ValueError("strange"), "failure"),
    (ErrorClass.THROTTLED, status(429), "throttle"),
    (ErrorClass.THROTTLED, status(503, retry_after="3"), "throttle"),
    (ErrorClass.QUOTA, status(402), "eject"),
    (ErrorClass.QUOTA, status(429, code="insufficient_quota"), "eject"),
    (ErrorClass.AUTH, status(401), "eject"),
    (ErrorClass.AUTH, status(403), "eject"),
]
RAISES = [
    (ErrorClass.INVALID_REQUEST, status(400)),
    (ErrorClass.INVALID_REQUEST, status(409)),
    (ErrorClass.INVALID_REQUEST, status(422)),
    (ErrorClass.INPUT_TOO_LARGE, status(413)),
    (ErrorClass.INPUT_TOO_LARGE, status(400, code="context_length_exceeded")),
    (ErrorClass.CONTENT_SAFETY, status(400, code="content_filter")),
]


@pytest.mark.parametrize(("error_class", "error", "mark"), MOVES_ON, ids=str)
def test_trouble_of_a_target_moves_the_call_on_and_marks_the_target(
    error_class: ErrorClass, error: Exception, mark: str, door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(ScriptedClient("a", default=error), "b")
    assert door(router, ask) == "b"
    found = router.status()["a"]
    assert (found.failures, found.throttled) == ((0, 1) if mark == "throttle" else (1, 0))
    assert found.state == ("open" if mark == "eject" else "closed")
    assert (found.cooldown_remaining > 0) == (mark != "failure")
    assert next(iter(router.events)).error_class is error_class


@pytest.mark.parametrize(("error_class", "error"), RAISES, ids=str)
def test_trouble_with_the_request_is_raised_as_it_came_and_marks_nothing(
    error_class: ErrorClass, error: Exception, door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(ScriptedClient("a", default=error), "b")
    for _ in range(20):
        with pytest.raises(ResponseStatusError) as caught:
            door(router, ask)
        assert caught.value is error
    status = router.status()
    assert (status["a"].failures, status["a"].state, status["b"].requests) == (0, "closed", 0)
    assert status.failed == 0
    assert set(trace(router)) == {f"attempt_failed a {error_class}"}


def test_a_neutral_error_is_raised_and_neither_marked_nor_told(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(ScriptedClient("a", default=CancelledError()), "b")
    for _ in range(20):
        with pytest.raises(CancelledError):
            door(router, ask)
    assert not trace(router)
    status = router.status()
    assert (status["a"].failures, status["a"].in_flight, status["b"].requests) == (0, 0, 0)


def test_a_user_who_interrupts_gets_the_interrupt(pool: Callable[..., Router]) -> None:
    router = pool(ScriptedClient("a", default=KeyboardInterrupt()), "b")
    with pytest.raises(KeyboardInterrupt):
        router.run(ask)
    assert router.status()["a"].in_flight == 0


def test_a_retry_after_is_believed_up_to_the_longest_cooldown(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    throttled = ScriptedClient("a", default=status(429, retry_after="300"))
    router = pool(throttled, "b", policy={"breaker": {"max_cooldown": 20}})
    router.run(ask)
    assert 20 <= router.status()["a"].cooldown_remaining <= 22


def test_throttling_without_a_word_backs_off_from_one_second_to_eight(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(ScriptedClient("a", default=status(429)), "b")
    cooldowns = []
    for _ in range(6):
        assert router.run(ask) == "b"
        cooldowns.append(router.status()["a"].cooldown_remaining)
        fake_clock.advance(8)
    bounds = [1, 2, 4, 8, 8, 8]
    assert all(bound / 2 <= time <= bound for time, bound in zip(cooldowns, bounds, strict=True))


def test_a_date_in_retry_after_counts_from_now(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    throttled = ScriptedClient(
        "a", default=status(429, retry_after="Tue, 14 Nov 2023 22:13:50 GMT")
    )
    router = pool(throttled, "b")  # the fake clock starts at 22:13:20
    router.run(ask)
    assert 30 <= router.status()["a"].cooldown_remaining <= 33


def test_a_healthy_backup_spares_the_wait_of_a_retry(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    def throttled_meanwhile(router: Router) -> None:
        router.run(lambda client: client.call() if client.name == "b" else _raise(status(429)))

    def behave(client: Any) -> Any:
        if client.name == "b":
            return "b"
        throttled_meanwhile(router)  # another call learns of it first
        raise ConnectionResetError

    router = pool("a", "b", policy={"retry": {"attempts": 3, "prefer": "retry"}})
    assert router.run(behave) == "b"
    assert not fake_clock.sleeps


def _raise(error: Exception) -> Any:
    raise error
