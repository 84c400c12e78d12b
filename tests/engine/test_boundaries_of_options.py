"""What may be said of a single call, and work that is done several times at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, AttemptTimeoutError, Router, Target
from failover_core.engine.attempt import GiveUp, Wait
from failover_core.engine.together import atogether, places_of, together
from failover_core.engine.usage import charge, metered
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, ask, begin, status

PATIENCE = 10


def names(router: Router, count: int, **options: Any) -> str:
    """Return the targets of calls that are begun one after the other and never end."""
    steps: list[Any] = [router.begin(**options).next() for _ in range(count)]
    return "".join(step.target.name for step in steps)


# Options


@pytest.mark.parametrize(("spread", "served"), [(None, "aaaa"), (False, "aaaa"), (True, "abca")])
def test_calls_that_may_be_answered_by_any_go_where_the_fewest_are_under_way(
    pool: Callable[..., Router], *, spread: bool | None, served: str
) -> None:
    options = {"tokens": 1} if spread is None else {"spread": spread}
    assert names(pool("a", "b", "c"), 4, **options) == served


def test_a_target_of_twice_the_weight_has_twice_as_many_under_way(
    pool: Callable[..., Router],
) -> None:
    heavy = Target(ScriptedClient("b", default="b"), name="b", weight=2)
    assert sorted(names(pool("a", heavy), 6, spread=True)) == [*"aabbbb"]


@pytest.mark.parametrize(
    ("among", "served"), [(None, "abc"), (["a", "b", "c"], "abc"), (["c"], "c"), (["c", "b"], "bc")]
)
def test_a_call_among_some_targets_is_sent_to_no_other(
    pool: Callable[..., Router], among: list[str] | None, served: str
) -> None:
    clients = [ScriptedClient(name, default=REFUSED) for name in "abc"]
    with pytest.raises(AllTargetsFailedError) as caught:
        pool(*clients).run(ask, among=among, tokens=5)
    assert len(caught.value.exceptions) == len(served)
    assert "".join(client.name for client in clients if client.calls) == served


def test_an_error_speaks_only_of_the_targets_that_the_call_was_for(
    pool: Callable[..., Router],
) -> None:
    router = pool(*(Target(name, name=name, supports=[]) for name in "abc"))
    with pytest.raises(AllTargetsFailedError) as caught:
        router.run(ask, among=["b"], requires="tools")
    assert "call: b does not support tools" in str(caught.value)


@pytest.mark.parametrize(("deadline", "timeout"), [(1_010.0, 5.0), (1_100.0, 50.0), (None, 30.0)])
def test_a_call_may_have_a_deadline_of_its_own(
    pool: Callable[..., Router], deadline: float | None, timeout: float
) -> None:
    router = pool("a", "b", policy={"total_timeout": 60})
    options: Any = {} if deadline is None else {"deadline": deadline}
    attempt: Any = router.begin(**options).next()
    assert attempt.timeout == timeout


@pytest.mark.parametrize(("seconds", "waits"), [(6, False), (7, True)])
def test_a_deadline_of_its_own_bounds_attempts_and_waits_of_a_call_without_any_other(
    pool: Callable[..., Router], fake_clock: FakeClock, seconds: float, *, waits: bool
) -> None:
    router = pool("a", policy={"retry": {"attempts": 2}})
    call = router.begin(deadline=fake_clock.now() + seconds)
    attempt: Any = call.next()
    assert attempt.timeout == seconds
    call.failed(attempt, status(429, retry_after="6"))
    step = call.next()
    assert isinstance(step, Wait if waits else GiveUp)
    assert not isinstance(step, Wait) or 6 <= step.seconds < seconds


@pytest.mark.parametrize(("seconds", "waits"), [(1, False), (3, True)])
def test_half_of_such_a_calls_time_is_kept_for_targets_that_can_be_tried(
    pool: Callable[..., Router], fake_clock: FakeClock, seconds: float, *, waits: bool
) -> None:
    limited = Target(ScriptedClient("a", default="a"), name="a", requests_per_minute=60)
    router = pool(limited, ScriptedClient("b", [status(401)], default="b"))
    for _ in range(60):
        router.run(ask)
    router.run(ask, preferred_target="b")
    step: Any = router.begin(deadline=fake_clock.now() + seconds).next()
    assert isinstance(step, Wait) == waits


@pytest.mark.parametrize(("seconds", "failures"), [(4, 0), (4.5, 1), (9, 1)])
def test_a_thin_slice_of_such_a_calls_time_blames_no_target(
    pool: Callable[..., Router], fake_clock: FakeClock, seconds: float, failures: int
) -> None:
    router = pool("a", policy={"attempt_timeout": 5})
    call = router.begin(deadline=fake_clock.now() + seconds)
    attempt: Any = call.next()
    call.failed(attempt, AttemptTimeoutError("slow"))
    assert router.status()["a"].failures == failures


def test_a_substitute_for_an_answer_is_counted_and_told(pool: Callable[..., Router]) -> None:
    router = pool(ScriptedClient("a", default=REFUSED), name="docs")
    for number in (1, 2):
        call, attempt = begin(router)
        call.failed(attempt, REFUSED)
        call.next()
        call.degraded()
        assert router.status().degraded == number
    (event, _) = [each for each in router.events if each.kind == "degraded"]
    assert event.reason == "no target could serve the call; a substitute was answered"
    assert (event.call_id, event.pool) == ("docs-1", "docs")
    router.reset()
    assert router.status().degraded == 0


# At once


@pytest.mark.parametrize(
    ("at_once", "most", "places"),
    [(None, None, 1), (None, 5, 1), (4, None, 4), (4, 2, 2), (4, 8, 4)],
)
def test_a_target_has_as_many_places_as_its_client_and_its_limit_allow(
    at_once: int | None, most: int | None, places: int
) -> None:
    client = ScriptedClient("a")
    if at_once:
        client.requests_at_once = at_once  # type: ignore[attr-defined]
    assert places_of(Target(client, max_concurrency=most)) == places


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_job_is_done_so_many_times_at_once_by_this_thread_and_others(count: int) -> None:
    barrier, threads = threading.Barrier(count), list[threading.Thread]()

    def job() -> None:
        barrier.wait(PATIENCE)
        threads.append(threading.current_thread())

    together(job, count)
    assert len(set(threads)) == count
    assert threading.current_thread() in threads


def test_an_error_of_any_of_them_is_raised_when_all_have_ended() -> None:
    here, ended = threading.current_thread(), list[int]()

    def job() -> None:
        if threading.current_thread() is not here:
            raise REFUSED
        ended.append(1)

    with pytest.raises(ConnectionRefusedError):
        together(job, 3)
    assert ended == [1]


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_a_job_is_done_so_many_times_at_once_by_tasks(count: int) -> None:
    barrier, tasks = asyncio.Barrier(count), set[Any]()

    async def job() -> None:
        await barrier.wait()
        tasks.add(asyncio.current_task())

    await atogether(job, count)
    assert len(tasks) == count
    assert (asyncio.current_task() in tasks) == (count == 1)


def test_every_meter_that_runs_counts_what_an_answer_cost() -> None:
    with metered() as outer:
        charge(3)
        with metered() as inner:
            charge(4)
        charge(5)
    charge(6)
    assert (outer.tokens, outer.answers, inner.tokens) == (12, [3, 4, 5], 4)
