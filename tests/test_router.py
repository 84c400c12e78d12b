"""The router as its user holds it: looking, steering, closing."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from failover_core import ConfigurationError, FailoverPolicy, Router, Target
from failover_core.engine.target_state import TargetState
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, fail_first, named, status, trace


def test_targets_are_named_by_their_client_model_or_class() -> None:
    class Model:
        model_name = "bge-m3"

    router = Router([ScriptedClient("a"), Model(), Model(), object(), Target(Model(), name="x")])
    names = [target.name for target in router.targets]
    assert names == ["a", "bge-m3", "bge-m3#2", "object", "x"]
    assert repr(router) == "Router('default': a, bge-m3, bge-m3#2, object, x)"


def test_a_derived_name_makes_way_for_a_given_one() -> None:
    router = Router([ScriptedClient("a"), Target(object(), name="a")])
    assert [target.name for target in router.targets] == ["a#2", "a"]


def test_the_callers_list_and_targets_are_left_as_they_are() -> None:
    targets = [Target(object()), object()]
    given = list(targets)
    Router(targets)
    assert targets == given
    assert given[0].name is None  # type: ignore[attr-defined]


def test_the_status_of_a_new_pool_knows_nothing_and_fails_nobody() -> None:
    found = Router(named("a", "b")).status()
    assert (found.active, found.requests, found.success_rate) == ("a", 0, None)
    assert [target.health for target in found.targets] == ["unknown", "unknown"]
    assert (found["a"].latency, found["a"].last_check, found["a"].success_rate) == (None,) * 3


def test_the_status_counts_what_happened(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool(ScriptedClient("a", [REFUSED, status(429, retry_after="4")], default="a"), "b")

    def slow(client: Any) -> Any:
        fake_clock.advance(0.5)
        return client.call()

    for pause in (0, 0, 10, 0):
        fake_clock.advance(pause)
        router.run(slow)
    found = router.status()
    assert (found.requests, found.succeeded, found.failed_over, found.failed) == (4, 4, 2, 0)
    a = found["a"]
    assert (a.requests, a.failures, a.throttled, a.success_rate) == (4, 1, 1, 2 / 3)
    assert (a.consecutive_failures, a.consecutive_successes) == (0, 2)
    assert (a.requests_per_minute, a.health, a.last_error) == (4, "healthy", a.last_error)
    assert a.last_error == "ResponseStatusError (HTTP 429)"
    assert a.latency is not None
    assert (a.latency.mean, a.latency.p50, a.latency.p95) == (0.5, 0.5, 0.5)
    assert a.last_success == a.last_check == fake_clock.wall()
    assert a.last_failure == fake_clock.wall() - 11.5


def test_failures_in_a_row_end_with_a_success_even_of_a_probe(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b")
    fail_first(router, 5)
    assert router.status()["a"].consecutive_failures == 5
    fake_clock.advance(5)
    router.run(ask)
    found = router.status()["a"]
    assert (found.consecutive_failures, found.health) == (0, "checking")


def test_percentiles_are_of_the_newest_latencies(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a")
    for seconds in [50.0] * 200 + [1.0] * 58 + [2.0] * 6:
        router.run(lambda _: fake_clock.advance(seconds))  # noqa: B023 - runs at once
    latency = router.status()["a"].latency
    assert latency is not None
    assert (latency.p50, latency.p95) == (1, 2)
    assert latency.mean == pytest.approx((58 + 12) / 64)


def test_requests_per_minute_fade_within_two_minutes(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a")
    fake_clock.advance(60 - fake_clock.now() % 60)
    for _ in range(30):
        router.run(ask)
    rates = []
    for _ in range(4):
        rates.append(router.status()["a"].requests_per_minute)
        fake_clock.advance(30)
    assert rates == [30, 30, 30, 15]
    fake_clock.advance(60)
    assert router.status()["a"].requests_per_minute == 0


def test_looking_sends_nothing_and_moves_nothing(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b")
    fail_first(router, 5)
    told = trace(router)
    for _ in range(3):
        fake_clock.advance(60)
        first = router.status()
        assert all(router.status() == first for _ in range(50))
        assert (first["a"].state, first["a"].requests) == ("open", 5)
    assert trace(router) == told
    assert not router.targets[0].client.calls


def test_a_plain_success_is_no_failover(door: Door, pool: Callable[..., Router]) -> None:
    router = pool("a", "b")
    assert door(router, ask) == "a"
    assert router.status().failed_over == 0


def test_the_report_of_a_call_says_who_served_and_what_went_before() -> None:
    router = Router(named("a", "b"))
    call = router.begin()
    attempt: Any = call.next()
    call.failed(attempt, REFUSED)
    call.succeeded(call.next())  # type: ignore[arg-type]
    assert call.report == {
        "target": "b",
        "model": None,
        "attempts": 2,
        "failed_over": True,
        "errors": [{"target": "a", "error_class": "connection"}],
    }


def test_a_disabled_first_target_does_not_make_every_call_a_failover() -> None:
    router = Router(named("a", "b", "c"))
    router.disable("a")
    assert router.run(str.upper) == "B"
    assert router.status().failed_over == 0


def test_a_switch_puts_a_target_first_until_reset(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c")
    router.switch("c")
    assert (router.run(ask), router.status().active) == ("c", "c")
    router.targets[2].client._script.append(REFUSED)
    assert router.run(ask) == "a", "the rest keeps its order"
    router.reset()
    assert router.run(ask) == "a"
    assert trace(router)[0] == "switched a->c"
    assert next(iter(router.events)).reason == "manual"


def test_a_switch_to_where_calls_go_anyway_is_no_news() -> None:
    router = Router(named("a", "b"))
    router.switch("a")
    assert not trace(router)


def test_disabling_and_enabling_tell_where_calls_go() -> None:
    router = Router(named("a", "b"))
    router.disable("a")
    assert (router.status().active, router.status()["a"].health) == ("b", "disabled")
    router.enable("a")
    assert (router.run(str.upper), router.status().active) == ("A", "a")
    assert [(e.to_target, e.reason) for e in router.events] == [("b", "disabled"), ("a", "enabled")]


@pytest.mark.parametrize("steer", ["switch", "enable", "disable"])
def test_steering_an_unknown_target_names_the_known_ones(steer: str) -> None:
    router = Router(named("a", "b"), name="docs")
    with pytest.raises(ConfigurationError, match=r"pool 'docs'.*'c'.*a, b"):
        getattr(router, steer)("c")


def test_a_reset_forgets_health_and_counts_but_not_what_is_disabled(
    pool: Callable[..., Router],
) -> None:
    router = pool("a", "b", "c")
    fail_first(router, 5)
    router.disable("c")
    router.reset()
    found = router.status()
    assert (found.active, found.requests, found["a"].requests) == ("a", 0, 0)
    assert (found["a"].state, found["c"].health) == ("closed", "disabled")
    assert router.run(ask) == "a"


def test_a_reset_while_calls_are_in_flight_loses_no_answer(door: Door) -> None:
    router = Router(named("a", "b"))

    def behave(client: str) -> str:
        router.reset()
        return client

    assert door(router, behave) == "a"
    assert router.status()["a"].in_flight == 0


class OwnClient(ScriptedClient):
    """A client of the library's own kind, which can be closed."""

    enforces_deadline = True
    default_attempt_timeout = 30.0
    closed = 0

    def close(self) -> None:
        self.closed += 1

    async def aclose(self) -> None:
        self.closed += 1


async def test_closing_closes_the_librarys_own_clients_and_no_others() -> None:
    class Foreign(OwnClient):
        default_attempt_timeout = property()

    own, foreign = OwnClient("a", default=1), Foreign("b", default=2)
    router = Router([own, foreign, object()])
    with router:
        pass
    async with router:
        assert router.run(ask) == 1
    assert (own.closed, foreign.closed) == (2, 0)
    assert router.run(ask) == 1, "a closed router still works"


def test_a_strategy_orders_the_targets(door: Door, pool: Callable[..., Router]) -> None:
    def backwards(targets: Sequence[TargetState], /) -> Sequence[TargetState]:
        return targets[::-1]

    router = pool("a", "b", "c", strategy=backwards)
    assert (door(router, ask), router.status().active) == ("c", "c")


def test_a_target_that_a_strategy_leaves_out_is_still_a_last_choice(door: Door) -> None:
    router = Router(named("a", "b"), strategy=lambda targets: targets[:1])

    def behave(client: str) -> str:
        if client == "a":
            raise REFUSED
        return client

    assert door(router, behave) == "b"


def test_a_policy_may_be_a_dict_and_is_left_as_it_is() -> None:
    settings: dict[str, Any] = {"total_timeout": 5, "retry": {"attempts": 2}}
    router = Router(named("a"), policy=settings)
    assert router.policy == FailoverPolicy.model_validate(settings)
    assert settings == {"total_timeout": 5, "retry": {"attempts": 2}}


def test_looking_is_quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    router = Router(named("a"))
    router.run(str.upper)
    router.status()
    assert not caplog.records


async def test_an_empty_async_stream_is_an_answer() -> None:
    async def empty(_: Any) -> AsyncIterator[str]:
        return
        yield

    router = Router(named("a", "b"))
    assert [chunk async for chunk in router.astream(empty)] == []
    assert router.status()["b"].requests == 0


def through_pickle(router: Router) -> Router:
    found = pickle.loads(pickle.dumps(router))  # noqa: S301 - our own bytes
    assert isinstance(found, Router)
    return found


@pytest.mark.parametrize("copied", [copy.deepcopy, through_pickle])
def test_a_copy_has_the_targets_and_settings_but_no_history(
    copied: Callable[[Router], Router],
) -> None:
    router = Router(["a", "b"], policy={"attempt_timeout": 3}, name="letters")
    router.run(str)
    twin = copied(router)
    assert repr(twin) == repr(router)
    assert (twin.policy.attempt_timeout, twin.targets) == (3, router.targets)
    assert twin.status().requests == 0
    assert twin.run(str.upper) == "A"
