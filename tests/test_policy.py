"""Settings: their defaults, and what is said about wrong ones."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError
from tenacity import wait_fixed

from failover_core import (
    BreakerPolicy,
    ConfigurationError,
    FailoverPolicy,
    Price,
    RetryPolicy,
    Router,
    Target,
)
from tests.engine.doors import named


def test_the_defaults_are_those_of_the_documentation() -> None:
    policy = FailoverPolicy()
    assert (policy.attempt_timeout, policy.total_timeout, policy.idle_timeout) == (None,) * 3
    assert (policy.retry.attempts, policy.retry.prefer) == (1, "failover")
    breaker = policy.breaker
    assert (breaker.consecutive_failures, breaker.failure_ratio) == (5, 0.5)
    assert (breaker.minimum_calls, breaker.window, breaker.successes_to_close) == (5, 30, 2)
    assert (breaker.cooldown, breaker.max_cooldown) == (5, 300)
    assert (policy.on_exhausted, policy.on_unknown) == ("group", "failover")
    assert policy.on_content_safety == "raise"


def test_equal_settings_are_equal_and_frozen() -> None:
    assert FailoverPolicy() == FailoverPolicy()
    assert FailoverPolicy.model_validate({"retry": {"attempts": 2}}).retry == RetryPolicy(
        attempts=2
    )
    with pytest.raises(ValidationError):
        FailoverPolicy().total_timeout = 5.0  # type: ignore[misc]


def test_a_wait_strategy_of_tenacity_is_a_setting() -> None:
    wait = wait_fixed(2)
    assert RetryPolicy(wait=wait, jitter=False).wait is wait


BAD_POLICIES: list[tuple[dict[str, Any], str]] = [
    ({"total_timeout": -1}, "FailoverPolicy: total_timeout: .*greater than 0"),
    ({"total_timeout": 0}, "FailoverPolicy: total_timeout: .*greater than 0"),
    ({"attempt_timeout": math.inf}, "FailoverPolicy: attempt_timeout: .*finite"),
    ({"idle_timeout": math.nan}, "FailoverPolicy: idle_timeout: "),
    ({"first_token_timeout": "soon"}, "FailoverPolicy: first_token_timeout: .*number"),
    ({"attempt_timeout": 9, "total_timeout": 5}, "attempt_timeout .*above total_timeout.*; lower"),
    ({"first_token_timeout": 9, "total_timeout": 5}, "first_token_timeout .*above total_timeout"),
    ({"total_timout": 5}, "total_timout: unknown setting; did you mean 'total_timeout'"),
    ({"zzz": 5}, "zzz: unknown setting; known: attempt_timeout, "),
    ({"on_unknown": "ignore"}, "on_unknown: .*'failover' or 'raise'"),
    ({"on_exhausted": None}, "on_exhausted: .*'group', 'first' or 'last'"),
    ({"retry": {"attempts": 0}}, "RetryPolicy: attempts: .*1"),
    ({"retry": {"attempt": 2}}, "RetryPolicy: attempt: unknown .*'attempts'"),
    ({"retry": {"wait": 5}}, "RetryPolicy: wait: "),
    ({"retry": 3}, "FailoverPolicy: retry: |RetryPolicy: settings: "),
    ({"breaker": {"failure_ratio": 1.5}}, "BreakerPolicy: failure_ratio: "),
    ({"breaker": {"consecutive_failures": 0}}, "BreakerPolicy: consecutive_failures: "),
    ({"idle_timeout": 9, "total_timeout": 5}, r"idle_timeout \(9.0 s\) is above total_timeout"),
    (
        {"attempt_timeout": 9, "breaker": {"lease": 5}},
        r"attempt_timeout \(9.0 s\) is above breaker.lease \(5.0 s\); lower the first",
    ),
    (
        {"hedge": {"after": 9}, "attempt_timeout": 5},
        r"hedge.after \(9.0 s\) is above attempt_timeout \(5.0 s\)",
    ),
    ({"hedge": {"after": 9}, "total_timeout": 5}, "hedge.after .* is above total_timeout"),
    ({"hedge": {"after": "p0"}}, "HedgePolicy: after"),
    ({"hedge": {"after": "slow"}}, "HedgePolicy: after"),
    ({"hedge": {"after": 0}}, "HedgePolicy: after"),
    ({"hedge": {"budget": 0}}, "HedgePolicy: budget: "),
    ({"hedge": {}}, "policy.hedge needs a second target to send to"),
    ({"spend_limit": -1}, "FailoverPolicy: spend_limit: "),
    ({"spend_limit": 5}, "policy.spend_limit counts by prices; give the targets a price"),
    ({"retry": {"budget": -0.1}}, "RetryPolicy: budget: "),
    ({"breaker": {"slow_start": -1}}, "BreakerPolicy: slow_start: "),
    ({"breaker": {"panic_threshold": 1.1}}, "BreakerPolicy: panic_threshold: "),
    ({"on_broken_stream": "restart"}, "on_broken_stream: .*'raise' or 'resume'"),
    ({"breaker": {"cooldown": 600}}, r"cooldown \(600.0 s\) is above max_cooldown .*; lower"),
]


@pytest.mark.parametrize(("settings", "message"), BAD_POLICIES, ids=str)
def test_a_bad_setting_is_named_with_its_remedy(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Router(named("a"), policy=settings)


BAD_TARGETS: list[tuple[Any, str]] = [
    ([], "pool 'docs': targets is empty; give it at least one target"),
    (None, "pool 'docs': targets must be a list, not NoneType"),
    ("http://a:7997", "pool 'docs': targets must be a list, not str"),
    (5, "pool 'docs': targets must be a list, not int"),
    (named("a", "a"), "two targets are named 'a'; give each its own name"),
]


@pytest.mark.parametrize(("targets", "message"), BAD_TARGETS)
def test_bad_targets_are_refused_with_the_pools_name(targets: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Router(targets, name="docs")


POSITIVE = """
    weight max_concurrency requests_per_minute requests_per_day tokens_per_minute spend_limit
    context_window attempt_timeout
""".split()  # noqa: SIM905 - a list of words is read as words


@pytest.mark.parametrize("field", POSITIVE)
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "5", True, [1]], ids=repr)
def test_a_bad_setting_of_a_target_names_target_and_field(field: str, value: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=f"Target 'x': {field} is .*finite number above zero"
    ):
        Target(object(), name="x", **{field: value})


def test_a_weight_cannot_be_left_undecided() -> None:
    weight: Any = None
    with pytest.raises(ConfigurationError, match="Target 'x': weight is None"):
        Target(object(), name="x", weight=weight)


@pytest.mark.parametrize(
    "price", [(-1, 1), (1, -1), (1, math.nan), ("1", 2), 5, (1, 2, 3), {"input": 1}], ids=repr
)
def test_a_bad_price_names_target_and_field(price: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Target 'x': price is .*give \(input, output\)"):
        Target(object(), name="x", price=price)


@pytest.mark.parametrize("field", ["input", "output"])
def test_a_negative_price_is_refused(field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Price: {field} is -1"):
        Price(**{"input": 1, "output": 1, field: -1})


def test_a_price_may_be_given_as_two_numbers() -> None:
    assert Target(object(), price=(1, 2)).price == Price(1, 2)
    assert Price(1, 2).of(1_000_000, 500_000) == 2


def test_a_spend_limit_needs_a_price() -> None:
    with pytest.raises(ConfigurationError, match="Target 'x': spend_limit is 5; it needs a price"):
        Target(object(), name="x", spend_limit=5)


@pytest.mark.parametrize(
    ("policy", "bound"),
    [({"total_timeout": 5}, "total_timeout"), ({"breaker": {"lease": 5}}, "breaker.lease")],
)
def test_an_attempt_longer_than_what_bounds_it_is_refused(
    policy: dict[str, Any], bound: str
) -> None:
    message = rf"attempt_timeout \(9 s\) of target 'x' is above policy.{bound} \(5.0 s\)"
    with pytest.raises(ConfigurationError, match=message):
        Router([Target(object(), name="x", attempt_timeout=9)], policy=policy)


@pytest.mark.parametrize("name", ["", "  ", 5])
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Target: name is .*or leave it out"):
        Target(object(), name=name)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ("priorty", "strategy: there is no strategy 'priorty'; did you mean 'priority'"),
        ("zzz", "strategy: there is no strategy 'zzz'; known: priority"),
        (5, "strategy: there is no strategy 5"),
        (["priority"], "strategy: there is no strategy"),
    ],
)
def test_an_unknown_strategy_is_refused_with_the_known_ones(strategy: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Router(named("a"), strategy=strategy)


def test_a_configuration_error_is_no_value_error_so_that_pydantic_lets_it_out() -> None:
    assert not issubclass(ConfigurationError, ValueError)
    with pytest.raises(ConfigurationError):
        FailoverPolicy(breaker=BreakerPolicy(cooldown=600))
