"""Limits of requests, tokens, money and concurrency: overflow first, then patience."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, Price, Router, Target, UnsupportedError
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, begin, status


def limited(name: str, **limits: Any) -> Target:
    return Target(ScriptedClient(name, default=name), name=name, **limits)


def served(router: Router, calls: int, **options: Any) -> Counter[str]:
    return Counter(router.run(ask, **options) for _ in range(calls))


def test_requests_beyond_the_limit_of_a_minute_go_to_the_next_target(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(limited("a", requests_per_minute=3), "b")
    assert [door(router, ask) for _ in range(5)] == ["a", "a", "a", "b", "b"]
    assert router.status()["a"].throttled == 0


def test_a_minute_frees_the_limit_bit_by_bit(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(limited("a", requests_per_minute=6), "b")
    served(router, 6)
    fake_clock.advance(9.9)
    assert served(router, 1) == {"b": 1}
    fake_clock.advance(0.2)
    assert served(router, 2) == {"a": 1, "b": 1}
    fake_clock.advance(3_600)
    assert served(router, 7) == {"a": 6, "b": 1}


def test_a_call_waits_for_the_only_target_until_its_limit_has_room(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(limited("a", requests_per_minute=10))
    for _ in range(10):
        door(router, ask)
    assert door(router, ask) == "a"
    assert fake_clock.sleeps == pytest.approx([6])


@pytest.mark.parametrize("policy", [{"total_timeout": 5}, {"retry": {"max_wait": 5}}])
def test_a_call_without_the_time_to_wait_says_what_limited_it(
    door: Door, pool: Callable[..., Router], policy: dict[str, Any]
) -> None:
    router = pool(limited("a", requests_per_minute=10), policy=policy)
    for _ in range(10):
        door(router, ask)
    with pytest.raises(AllTargetsFailedError, match="a has no room within its limits"):
        door(router, ask)


def test_a_long_wait_for_a_limit_gives_way_to_the_last_resort(
    door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    ejected = ScriptedClient("b", [status(401)], default="b")
    router = pool(ejected, limited("a", requests_per_minute=1), policy={"total_timeout": 100})
    assert [door(router, ask) for _ in range(2)] == ["a", "b"]
    assert fake_clock.sleeps == []


def test_requests_of_a_day_are_counted_over_24_hours(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(limited("a", requests_per_day=10), "b")
    assert served(router, 12) == {"a": 10, "b": 2}
    fake_clock.advance(22 * 3_600)
    assert served(router, 1) == {"b": 1}
    fake_clock.advance(2 * 3_600)
    assert served(router, 12) == {"a": 10, "b": 2}


def test_no_24_hours_see_more_than_the_limit_of_a_day(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router, times = pool(limited("a", requests_per_day=20), "b"), []
    for _ in range(400):
        fake_clock.advance(900)
        if router.run(ask) == "a":
            times.append(fake_clock.now())
    spans = (later - first for first, later in zip(times, times[20:], strict=False))
    assert min(spans) > 86_400 - 3_600
    assert len(times) >= 80


def test_tokens_are_reserved_by_estimate_and_settled_by_use(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(limited("a", tokens_per_minute=1_000), "b")
    assert [door(router, ask, tokens=400) for _ in range(3)] == ["a", "a", "b"]


def test_a_call_that_used_less_than_estimated_leaves_room(pool: Callable[..., Router]) -> None:
    router = pool(limited("a", tokens_per_minute=1_000), "b")
    for _ in range(7):
        assert router.run(ask, tokens=400, usage=lambda _: (60, 40)) == "a"
    assert router.run(ask, tokens=400) == "b"
    assert router.status()["a"].tokens == 700


def test_a_call_that_used_more_than_estimated_makes_the_next_one_move_on(
    pool: Callable[..., Router],
) -> None:
    router = pool(limited("a", tokens_per_minute=1_000), "b")
    assert router.run(ask, tokens=10, usage=lambda _: (500, 500)) == "a"
    assert router.run(ask, tokens=10) == "b"


async def test_usage_of_an_async_call_is_charged_as_well(pool: Callable[..., Router]) -> None:
    router = pool(limited("a", tokens_per_minute=1_000), "b")

    async def send(client: Any) -> Any:
        return await client.acall()

    assert await router.arun(send, tokens=10, usage=lambda _: (500, 500)) == "a"
    assert await router.arun(send, tokens=10) == "b"


def test_a_failed_call_gives_its_tokens_back(pool: Callable[..., Router]) -> None:
    failing = Target(ScriptedClient("a", [REFUSED], default="a"), name="a", tokens_per_minute=1_000)
    router = pool(failing, "b")
    assert [router.run(ask, tokens=900) for _ in range(3)] == ["b", "a", "b"]


def test_an_answer_that_does_not_serve_is_charged_to_the_target_that_gave_it(
    pool: Callable[..., Router],
) -> None:
    router = pool(limited("a", tokens_per_minute=1_000), limited("b", tokens_per_minute=1_000))
    call = router.begin(tokens=400)
    misfit: Any = call.next()
    call.used(60, 40, by=misfit)
    call.failed(misfit, UnsupportedError("not what was asked for"))
    fitting: Any = call.next()
    call.succeeded(fitting)
    call.used(100, 100)

    assert [target.tokens for target in router.status().targets] == [100, 200]
    assert served(router, 5, tokens=300) == {"a": 3, "b": 2}


def test_tokens_of_a_stream_that_told_of_them_and_broke_are_not_given_back_twice(
    pool: Callable[..., Router],
) -> None:
    router = pool(limited("a", tokens_per_minute=1_000), "b")
    call = router.begin(tokens=400)
    attempt: Any = call.next()
    call.commit(attempt)
    call.used(900, 0)
    call.failed(attempt, REFUSED)

    assert router.run(ask, tokens=200) == "b"


def test_a_call_that_is_larger_than_the_whole_limit_passes_when_all_of_it_is_free(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(limited("a", tokens_per_minute=100), "b")
    assert router.run(ask, tokens=500) == "a"
    fake_clock.advance(290)
    assert router.run(ask, tokens=100) == "b"
    fake_clock.advance(20)
    assert router.run(ask, tokens=100) == "a"


def test_a_target_that_has_cost_its_limit_is_passed_over_for_24_hours(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(limited("a", price=(1.0, 2.0), spend_limit=0.5), "b")
    for _ in range(5):
        assert router.run(ask, usage=lambda _: (20_000, 40_000)) == "a"
    assert router.run(ask) == "b"
    assert router.status()["a"].spend == pytest.approx(0.5)
    fake_clock.advance(86_400)
    assert router.run(ask) == "a"


def test_money_given_back_after_it_was_forgotten_leaves_no_room_for_more(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(limited("a", price=(1e6, 1e6), spend_limit=10), "b")
    long = router.begin(tokens=6)
    attempt: Any = long.next()
    fake_clock.advance(90_000)
    long.failed(attempt, REFUSED)
    assert [router.run(ask, tokens=6) for _ in range(2)] == ["a", "b"]


def test_a_pool_that_has_cost_its_limit_uses_what_is_free(pool: Callable[..., Router]) -> None:
    router = pool(
        limited("a", price=Price(10.0)),
        limited("b", price=Price(10.0)),
        limited("free", price=Price(0.0)),
        "unpriced",
        policy={"spend_limit": 1.0},
    )
    assert served(router, 3, tokens=50_000) == {"a": 2, "free": 1}
    assert router.run(ask, tokens=1, preferred_target="b") == "free"


def test_a_pool_over_its_spend_limit_refuses_and_says_why(pool: Callable[..., Router]) -> None:
    router = pool(limited("a", price=(1.0, 1.0)), policy={"spend_limit": 0})
    with pytest.raises(AllTargetsFailedError, match="a has no room within its limits"):
        router.run(ask)


def test_a_full_target_overflows_to_the_next_one(pool: Callable[..., Router]) -> None:
    router = pool(limited("a", max_concurrency=2), "b")
    under_way = [begin(router) for _ in range(4)]
    assert [attempt.target.name for _, attempt in under_way] == ["a", "a", "b", "b"]
    call, attempt = under_way[0]
    call.succeeded(attempt)
    assert router.run(ask) == "a"


def test_calls_wait_their_turn_at_a_full_target_and_none_is_lost() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def behave(_: Any) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1
        return "served"

    router = Router([Target("a", max_concurrency=3)])
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(router.run(behave))) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["served"] * 40
    assert most <= 3


async def test_tasks_wait_their_turn_at_a_full_target_and_none_is_lost() -> None:
    running, most = 0, 0

    async def behave(_: Any) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return "served"

    router = Router([Target("a", max_concurrency=3)])
    answers = await asyncio.gather(*(router.arun(behave) for _ in range(60)))
    assert answers == ["served"] * 60
    assert most <= 3


def test_a_call_does_not_wait_for_a_permit_beyond_its_deadline(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(limited("a", max_concurrency=1), policy={"total_timeout": 3})
    router.begin().next()
    before = fake_clock.now()
    with pytest.raises(AllTargetsFailedError):
        router.run(ask)
    assert 2.5 < fake_clock.now() - before <= 3


def test_a_retry_keeps_to_the_limits_too(pool: Callable[..., Router]) -> None:
    only = Target(ScriptedClient("a", [REFUSED], default="a"), name="a", requests_per_minute=1)
    router = pool(only, policy={"retry": {"attempts": 2}})
    with pytest.raises(AllTargetsFailedError):
        router.run(ask)
    assert router.status()["a"].requests == 1


def test_a_reset_forgets_no_limit(pool: Callable[..., Router]) -> None:
    router = pool(limited("a", requests_per_minute=1), "b")
    router.run(ask)
    router.reset()
    assert router.run(ask) == "b"
