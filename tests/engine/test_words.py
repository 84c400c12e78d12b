"""What people read: the exact words of events, errors, notes and log lines."""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest

from failover_core import (
    AllTargetsFailedError,
    AttemptTimeoutError,
    ConfigurationError,
    FailoverEvent,
    Router,
    Target,
    UnavailableError,
    UnsupportedError,
)
from failover_core.engine.workers import MAX_ABANDONED, Workers
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, begin, fail_first, status


class Half:
    """Dice that always show the middle."""

    def uniform(self, a: float, b: float, /) -> float:
        return (a + b) / 2


def told(router: Router) -> list[dict[str, Any]]:
    """Return the fields of each event that say something."""
    return [
        {name: value for name in FailoverEvent.__slots__ if (value := getattr(event, name))}
        for event in router.events
    ]


def said(router: Router, **call: Any) -> str:
    """Return the message of a call that nobody serves."""
    with pytest.raises(AllTargetsFailedError) as caught:
        router.run(ask, **call)
    return str(caught.value)


@pytest.fixture
def still(pool: Callable[..., Router]) -> Callable[..., Router]:
    """Build a router whose time and chance stand still."""
    return partial(pool, name="docs", dice=Half())


# Events


def test_a_call_that_fails_over_says_from_where_to_where_and_why(
    still: Callable[..., Router],
) -> None:
    router = still(
        ScriptedClient("a", [status(500)]), ScriptedClient("b", default="b"), name="docs"
    )
    router.run(ask)
    moment = {"time": 1_700_000_000.0, "pool": "docs", "call_id": "docs-1"}
    why = {"error_class": "server_error", "error": "ResponseStatusError (HTTP 500)"}
    assert told(router) == [
        {**moment, **why, "kind": "attempt_failed", "target": "a"},
        {
            **moment,
            **why,
            "kind": "failed_over",
            "from_target": "a",
            "to_target": "b",
            "reason": "server_error",
        },
    ]


def test_an_ejection_says_for_how_long_and_why_and_where_calls_go_now(
    still: Callable[..., Router],
) -> None:
    router = still("a", "b", policy={"breaker": {"consecutive_failures": 1}})
    fail_first(router, 1)
    moment = {"time": 1_700_000_000.0, "pool": "docs"}
    assert told(router)[1:3] == [
        {
            **moment,
            "kind": "ejected",
            "target": "a",
            "reason": "for 3.8 s",
            "error_class": "connection",
            "error": "ConnectionRefusedError",
        },
        {
            **moment,
            "kind": "switched",
            "from_target": "a",
            "to_target": "b",
            "reason": "ejected",
        },
    ]


def test_a_return_says_that_probes_succeeded_and_where_calls_go_again(
    still: Callable[..., Router], fake_clock: FakeClock
) -> None:
    breaker = {"consecutive_failures": 1, "successes_to_close": 1}
    router = still("a", "b", policy={"breaker": breaker})
    fail_first(router, 1)
    fake_clock.advance(5)
    (since,) = {event.time + 5 for event in router.events}
    number = len(told(router))
    call, attempt = begin(router)
    fake_clock.advance(1)
    assert router.status().active == "b"  # a probe is under way at the other one
    call.succeeded(attempt)
    moment = {"pool": "docs"}
    assert told(router)[number:] == [
        {**moment, "time": since, "kind": "probing", "target": "a", "call_id": call.id},
        {
            **moment,
            "time": since + 1,
            "kind": "recovered",
            "target": "a",
            "reason": "its probes succeeded",
        },
        {
            **moment,
            "time": since + 1,
            "kind": "switched",
            "from_target": "b",
            "to_target": "a",
            "reason": "recovered",
        },
    ]


def test_a_hedge_says_how_long_there_was_no_answer(
    still: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = still("a", "b", policy={"hedge": {"after": 0.25}})
    call, attempt = begin(router)
    fake_clock.advance(0.25)
    call.hedge(attempt)
    assert told(router) == [
        {
            "time": 1_700_000_000.25,
            "pool": "docs",
            "kind": "hedged",
            "from_target": "a",
            "to_target": "b",
            "reason": "no answer after 0.25 s",
            "call_id": "docs-1",
        }
    ]


def test_an_active_probe_that_finds_an_ejected_target_well_says_so(
    still: Callable[..., Router],
) -> None:
    policy = {"breaker": {"consecutive_failures": 1}, "probe": {"check": lambda _: None}}
    router = still("a", "b", policy=policy)
    fail_first(router, 1)
    number = len(told(router))
    router.probe("a")
    router.close()
    assert [
        (event["kind"], event["target"], event["reason"]) for event in told(router)[number:]
    ] == [("probing", "a", "probed well")]


def test_an_exhausted_call_says_who_was_tried(still: Callable[..., Router]) -> None:
    router = still(*(ScriptedClient(name, default=REFUSED) for name in "ab"))
    said(router)
    router.disable("a")
    router.disable("b")
    said(router)
    ends = [event for event in told(router) if event["kind"] == "exhausted"]
    assert [(event["reason"], event["call_id"]) for event in ends] == [
        ("tried: a, b", "docs-1"),
        ("none was tried", "docs-2"),
    ]


def test_a_wrong_request_exhausts_nothing(still: Callable[..., Router]) -> None:
    router = still(ScriptedClient("a", default=status(400)), "b")
    call, attempt = begin(router)
    call.failed(attempt, status(400))
    call.next()
    assert [event["kind"] for event in told(router)] == ["attempt_failed"]


# Errors


def test_an_error_names_pool_and_failures_in_one_line(still: Callable[..., Router]) -> None:
    router = still(ScriptedClient("a", [REFUSED]), ScriptedClient("b", [status(500)]))
    message = said(router)
    assert message.startswith(
        "no target of pool 'docs' could serve the call: every target failed; "
        "a: connection (ConnectionRefusedError); b: server_error (ResponseStatusError (HTTP 500))"
    )


def test_an_error_names_what_kept_the_call_from_each_target(still: Callable[..., Router]) -> None:
    router = still(
        Target("x", name="a", supports=[]), Target("y", name="b", supports=[]), name="docs"
    )
    assert "call: a does not support tools; b does not support tools" in said(
        router, requires="tools"
    )


def test_an_error_leaves_out_what_was_tried_or_is_disabled(still: Callable[..., Router]) -> None:
    limited = Target("c", name="c", requests_per_minute=1)
    router = still(ScriptedClient("a", default=REFUSED), "b", limited)
    router.disable("b")
    router.run(lambda _: "served", preferred_target="c")
    message = said(router)
    assert "call: c has no room within its limits in time; a: connection (" in message


def test_an_error_names_the_disabled_targets_and_the_remedy(still: Callable[..., Router]) -> None:
    router = still("a", "b")
    router.disable("a")
    router.disable("b")
    with pytest.raises(AllTargetsFailedError) as caught:
        router.run(ask)
    assert str(caught.value).startswith(
        "no target of pool 'docs' could serve the call: every target failed; "
        "disabled, until router.enable(name): a, b"
    )
    (only,) = caught.value.exceptions
    assert isinstance(only, UnavailableError)
    assert str(only) == "no target was tried"


def test_a_call_that_no_target_could_ever_serve_is_unsupported(
    still: Callable[..., Router],
) -> None:
    with pytest.raises(AllTargetsFailedError) as caught:
        still(Target("x", name="a", supports=[])).run(ask, requires="tools")
    (only,) = caught.value.exceptions
    assert isinstance(only, UnsupportedError)
    assert str(only) == "a does not support tools"
    assert caught.value.error_class == "unsupported"


def test_a_call_without_room_is_unavailable(still: Callable[..., Router]) -> None:
    router = still(Target(ScriptedClient("a", default="a"), name="a", requests_per_minute=1))
    router.run(ask)
    with pytest.raises(AllTargetsFailedError, match="no room within its limits") as caught:
        router.run(ask)
    (only,) = caught.value.exceptions
    assert isinstance(only, UnavailableError)
    assert caught.value.error_class is None


def test_a_reason_stands_beside_the_errors_of_the_attempts(still: Callable[..., Router]) -> None:
    limited = Target(ScriptedClient("b", default="b"), name="b", requests_per_minute=1)
    router = still(ScriptedClient("a", default=REFUSED), limited)
    assert router.run(ask) == "b"
    with pytest.raises(AllTargetsFailedError, match="b has no room") as caught:
        router.run(ask)
    assert caught.value.exceptions == (REFUSED,)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("round-robin", "did you mean 'round_robin'?"),
        ("nonsense", "known: priority, sticky, round_robin, weighted, least_loaded"),
    ],
)
def test_an_unknown_strategy_is_told_which_there_are(
    still: Callable[..., Router], given: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        still("a", strategy=given)
    assert f"there is no strategy {given!r}; {hint}" in str(caught.value)


@pytest.mark.parametrize(("which", "number"), [("first", 0), ("last", 2)])
def test_the_error_of_the_policys_choice_is_raised(
    still: Callable[..., Router], which: str, number: int
) -> None:
    errors = [ConnectionRefusedError(str(place)) for place in range(3)]
    clients = [ScriptedClient(name, [error]) for name, error in zip("abc", errors, strict=True)]
    with pytest.raises(ConnectionRefusedError) as caught:
        still(*clients, policy={"on_exhausted": which}).run(ask)
    assert caught.value is errors[number]


def test_an_error_says_that_the_time_is_over(
    still: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = still("a", "b", policy={"total_timeout": 10})
    call, attempt = begin(router)
    fake_clock.advance(10)
    call.failed(attempt, REFUSED)
    step: Any = call.next()
    assert "call: its total_timeout is over; a: connection" in str(step.error)


def test_an_error_says_that_the_throttle_held_the_call_back(still: Callable[..., Router]) -> None:
    clients = [ScriptedClient(name, default=status(401)) for name in "ab"]
    router = still(*clients, policy={"adaptive_throttle": True})
    said(router)
    assert "call: every target is ejected, and the adaptive throttle held it back" in said(router)


def test_a_status_knows_no_target_of_another_name(still: Callable[..., Router]) -> None:
    with pytest.raises(KeyError, match="nobody"):
        still("a").status()["nobody"]


def test_an_attempt_that_was_too_slow_says_within_which_time() -> None:
    go_on = threading.Event()

    def run(_: Any) -> Any:
        go_on.wait(10)

    async def arun(_: Any) -> Any:
        await asyncio.sleep(10)

    async def main() -> None:
        await router.arun(arun)

    router = Router(["a"], policy={"attempt_timeout": 0.0625, "on_exhausted": "last"})
    for door in (lambda: router.run(run), lambda: asyncio.run(main())):
        with pytest.raises(AttemptTimeoutError) as caught:
            door()
        assert str(caught.value) == "no answer within 0.0625 s"
    go_on.set()


def test_a_stream_whose_time_is_over_says_so(
    still: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = still("a", policy={"total_timeout": 5})
    stream = router.stream(lambda _: iter("abc"))
    next(stream)
    fake_clock.advance(5)
    with pytest.raises(AttemptTimeoutError) as caught:
        next(stream)
    assert str(caught.value) == "the time of the stream is over"


def test_a_target_with_too_many_abandoned_calls_says_how_many_run() -> None:
    workers = Workers()
    workers.count(MAX_ABANDONED)
    with pytest.raises(AttemptTimeoutError) as caught:
        workers.call_within(lambda: None, 1.0)
    assert str(caught.value) == "64 abandoned calls still run; no further one is started"


# Notes


def test_an_error_that_is_raised_again_and_again_bears_one_note_for_each_place() -> None:
    error = ConnectionRefusedError("one object")
    router = Router([ScriptedClient(name, default=error) for name in "ab"])
    for _ in range(3):
        with pytest.raises(AllTargetsFailedError):
            router.run(ask)
    assert error.__notes__ == [
        "target 'a', attempt 1: connection",
        "target 'b', attempt 2: connection",
    ]


class FrozenError(ConnectionError):
    """An error that takes no notes."""

    def add_note(self, _: str, /) -> None:
        raise TypeError


def test_an_error_that_takes_no_notes_is_as_good_as_any() -> None:
    router = Router([ScriptedClient("a", [FrozenError()]), ScriptedClient("b", default="b")])
    assert router.run(ask) == "b"


# Logs, threads


def test_a_wake_that_fails_is_logged_with_the_targets_name() -> None:
    heard: queue.SimpleQueue[tuple[str, str, bool]] = queue.SimpleQueue()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            thread = threading.current_thread()
            heard.put((record.getMessage(), thread.name, thread.daemon))

    def wake() -> None:
        raise REFUSED

    logger, listener = logging.getLogger("failover_core"), Listener()
    logger.addHandler(listener)
    Workers().leave_to_itself(wake, name="gpu")
    assert heard.get(timeout=10) == ("waking target 'gpu' failed", "failover-wake", True)
    logger.removeHandler(listener)


def test_threads_bear_the_librarys_name_and_keep_no_interpreter_alive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("failover_core.engine.workers._IDLE", [])
    thread = Workers().call_within(threading.current_thread, 10.0)
    assert (thread.name, thread.daemon) == ("failover-worker", True)


def test_chunks_that_take_too_long_say_within_which_time() -> None:
    go_on = threading.Event()

    def chunks(_: Any) -> Iterator[str]:
        yield "first"
        go_on.wait(10)
        yield "never"

    async def achunks(_: Any) -> AsyncIterator[str]:
        yield "first"
        await asyncio.sleep(10)
        yield "never"

    async def collect() -> None:
        async for _ in router.astream(achunks):
            pass

    router = Router(["a"], policy={"idle_timeout": 0.0625}, dice=random.Random(1))
    for door in (lambda: list(router.stream(chunks)), lambda: asyncio.run(collect())):
        with pytest.raises(AttemptTimeoutError) as caught:
            door()
        assert str(caught.value) == "no answer within 0.0625 s"
    go_on.set()
