"""Events: their history, their subscribers, their log lines, and what is never in them."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, EventKind, FailoverEvent, Router
from failover_core.event_log import EventLog
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import Door, ask, fail_first, named, status

CANARY = "sk-canary-4f1d the patient's name is Ada"


def event(number: int = 0, kind: EventKind = EventKind.EJECTED, **details: Any) -> FailoverEvent:
    return FailoverEvent(time=float(number), pool="p", kind=kind, **{"target": "a", **details})


def thread_of(log: EventLog) -> threading.Thread:
    thread = log._mailroom._thread
    assert thread is not None
    return thread


@pytest.fixture
def log() -> Iterator[EventLog]:
    log = EventLog(size=10)
    yield log
    log.close()


def test_the_history_is_bounded_and_keeps_its_order(log: EventLog) -> None:
    for number in range(25):
        log.publish(event(number))
    assert [kept.time for kept in log] == list(range(15, 25))
    assert len(log) == 10


def test_a_subscriber_hears_of_every_later_event_in_order(log: EventLog) -> None:
    heard: list[float] = []
    log.publish(event(1))
    log.subscribe(lambda each: heard.append(each.time))
    for number in range(2, 10):
        log.publish(event(number))
    log.flush()
    assert heard == list(range(2, 10))


def test_an_async_subscriber_is_awaited(log: EventLog) -> None:
    heard: list[float] = []

    async def subscriber(each: FailoverEvent) -> None:
        await asyncio.sleep(0)
        heard.append(each.time)

    log.subscribe(subscriber)
    log.publish(event(1))
    log.publish(event(2))
    log.flush()
    assert heard == [1, 2]


def test_who_unsubscribes_hears_no_more(log: EventLog) -> None:
    heard: list[FailoverEvent] = []
    end = log.subscribe(heard.append)
    log.publish(event(1))
    log.flush()
    end()
    end()
    log.publish(event(2))
    log.flush()
    assert len(heard) == 1


def test_a_subscriber_that_raises_is_logged_and_breaks_nobody(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[FailoverEvent] = []

    def broken(_: FailoverEvent) -> None:
        message = "subscriber's own trouble"
        raise ValueError(message)

    log.subscribe(broken)
    log.subscribe(heard.append)
    log.publish(event(1))
    log.publish(event(2))
    log.flush()
    assert len(heard) == 2
    assert "own trouble" in caplog.text


def test_a_slow_subscriber_slows_no_call(door: Door) -> None:
    router = Router([ScriptedClient("a", default=OSError()), ScriptedClient("b", default="b")])
    free = threading.Event()
    router.events.subscribe(lambda _: free.wait(30))
    began = time.monotonic()
    assert [door(router, ask) for _ in range(20)] == ["b"] * 20
    assert time.monotonic() - began < 10
    free.set()
    router.close()


def test_a_subscriber_that_falls_behind_loses_the_newest_events(log: EventLog) -> None:
    free, heard = threading.Event(), list[float]()

    def subscriber(each: FailoverEvent) -> None:
        free.wait(30)
        heard.append(each.time)

    log.subscribe(subscriber)
    for number in range(100):
        log.publish(event(number))
    free.set()
    log.flush()
    assert 10 <= len(heard) <= 11
    assert heard == sorted(heard)


def test_a_subscriber_may_call_the_router_it_listens_to() -> None:
    router = Router([ScriptedClient("a", default=OSError()), ScriptedClient("b", default="b")])
    heard: list[str | None] = []
    router.events.subscribe(lambda _: heard.append(router.status().active))
    router.run(ask)
    router.events.flush()
    assert heard == ["a", "a"]
    router.close()


def test_without_subscribers_there_is_no_thread(log: EventLog) -> None:
    log.publish(event())
    log.flush()
    assert log._mailroom._thread is None


def test_closing_delivers_what_is_left_and_ends_the_thread() -> None:
    log, heard = EventLog(), list[FailoverEvent]()

    def slow(each: FailoverEvent) -> None:
        time.sleep(0.01)
        heard.append(each)

    log.subscribe(slow)
    for number in range(10):
        log.publish(event(number))
    thread = thread_of(log)
    log.close()
    assert (len(heard), thread.is_alive()) == (10, False)
    log.close()


def test_closing_waits_for_a_stuck_subscriber_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("failover_core.event_log._CLOSING", 0.05)
    log, free = EventLog(size=1), threading.Event()
    log.subscribe(lambda _: free.wait(30))
    for number in range(5):
        log.publish(event(number))
    thread = thread_of(log)
    log.close()
    assert thread.is_alive()
    free.set()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("events", [1, 5_000])
def test_the_thread_ends_when_its_router_is_collected(events: int) -> None:
    router, free = Router(named("a", "b")), threading.Event()
    router.events.subscribe(lambda _: free.wait(30))
    for number in range(events):
        router.switch("ba"[number % 2])
    thread = thread_of(router.events)
    del router
    gc.collect()
    free.set()
    thread.join(10)
    assert not thread.is_alive()


def test_log_lines_of_one_kind_and_target_come_once_in_ten_seconds(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "failover_core")
    for number in (0, 1, 9, 10, 11):
        log.publish(event(number, reason="for 5.0 s"))
    log.publish(event(11, target="b"))
    assert caplog.messages == [
        "pool p: ejected a (for 5.0 s)",
        "pool p: ejected a (for 5.0 s) (2 more like this were not logged)",
        "pool p: ejected b",
    ]


def test_log_lines_go_on_after_the_wall_clock_was_set_back(
    log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.publish(event(100_000))
    log.publish(event(10))
    assert len(caplog.messages) == 2


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (EventKind.EJECTED, logging.WARNING),
        (EventKind.EXHAUSTED, logging.WARNING),
        (EventKind.RECOVERED, logging.INFO),
        (EventKind.SWITCHED, logging.INFO),
        (EventKind.FAILED_OVER, logging.INFO),
        (EventKind.THROTTLED, logging.INFO),
        (EventKind.ATTEMPT_FAILED, logging.DEBUG),
        (EventKind.PROBING, logging.DEBUG),
    ],
)
def test_each_kind_has_its_log_level(
    kind: EventKind, level: int, log: EventLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "failover_core")
    log.publish(event(kind=kind))
    assert [record.levelno for record in caplog.records] == [level]


def test_the_lines_of_events_can_be_read() -> None:
    lines = [
        str(event(kind=EventKind.FAILED_OVER, target=None, from_target="a", to_target="b")),
        str(event(kind=EventKind.EXHAUSTED, target=None, reason="tried: a, b")),
        str(event(kind=EventKind.PROBING)),
    ]
    assert lines == [
        "pool p: failed_over a -> b",
        "pool p: exhausted every target failed (tried: a, b)",
        "pool p: probing a",
    ]


def test_events_of_one_call_share_its_id_and_tell_its_latency(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    def behave(client: Any) -> Any:
        fake_clock.advance(2)
        raise OSError

    router = pool("a", "b", name="docs")
    with pytest.raises(Exception, match="docs"):
        router.run(behave)
    events = list(router.events)
    assert {each.call_id for each in events} == {"docs-1"}
    assert [each.latency for each in events] == [2, None, 2, None]
    assert [each.time for each in events] == [1_700_000_002.0] * 2 + [1_700_000_004.0] * 2


def test_an_automatic_switch_is_not_called_manual(pool: Callable[..., Router]) -> None:
    router = pool("a", "b")
    fail_first(router, 5)
    reasons = [each.reason for each in router.events if each.kind is EventKind.SWITCHED]
    assert reasons == ["ejected"]


def test_no_prompt_and_no_word_of_a_provider_reaches_events_status_report_or_log(
    door: Door, pool: Callable[..., Router], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "failover_core")
    refusals = [
        status(400, code="content_filter"),
        ConnectionError(CANARY),
        ValueError(CANARY, {"body": CANARY}),
        TimeoutError(CANARY),
    ]
    for error in refusals:
        error.args = (CANARY,)
    router = pool(*(ScriptedClient(name, refusals * 4, default="ok") for name in "ab"))
    messages = []
    for _ in range(40):
        try:
            door(router, lambda client: client.call(CANARY))
        except AllTargetsFailedError as error:
            messages.append(str(error))
        except Exception as error:  # noqa: BLE001 - the provider's own may say what it will
            messages.append(type(error).__name__)
    said = [*messages, *map(repr, router.events), *map(str, router.events)]
    said += [repr(router.status()), caplog.text]
    assert len(router.events) > 20
    assert not [text for text in said if "canary" in text or "Ada" in text]
