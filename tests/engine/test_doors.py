"""One table of scenarios: the same outcome and the same events through every door."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from failover_core import (
    MalformedResponseError,
    Router,
    Target,
)
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, outcome, status, trace

SILENT = TimeoutError("silent")
GONE_BAD = MalformedResponseError("three vectors for two texts")
BAD_REQUEST = status(400)
TOO_LARGE = status(413)
UNSAFE = status(400, code="content_filter")
STRANGE = ValueError("strange")
THROTTLED = status(429, retry_after="10")


@dataclass
class Scenario:
    """Calls on a pool, and what must come of them.

    Attributes:
        scripts: what the sends to each target meet; "ok" is an answer of its name. At its end
            a script of one error repeats it, and any other answers.
        outcomes: of the calls, in order.
        sends: the targets that were asked, in order.
        events: what the router told.
        pauses: seconds before each call.
    """

    scripts: dict[str, list[Any]]
    outcomes: list[str]
    sends: str
    events: list[str] = field(default_factory=list)
    policy: dict[str, Any] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)
    disabled: tuple[str, ...] = ()
    pauses: tuple[float, ...] = ()


def retry(prefer: str, attempts: int = 3) -> dict[str, Any]:
    return {"retry": {"attempts": attempts, "prefer": prefer}}


FAILOVER = ["attempt_failed a connection", "failed_over a->b connection"]
EJECTED = ["attempt_failed a connection", "ejected a connection", "switched a->b"]

SCENARIOS = {
    "a healthy target serves and nothing is told": Scenario({"a": [], "b": []}, ["a"], "a"),
    "a dead primary costs one send": Scenario({"a": [REFUSED], "b": []}, ["b"], "ab", FAILOVER),
    "every target is tried once before a call fails": Scenario(
        {"a": [REFUSED], "b": [REFUSED], "c": [REFUSED]},
        ["all failed: connection"],
        "abc",
        [
            *FAILOVER,
            "attempt_failed b connection",
            "failed_over b->c connection",
            "attempt_failed c connection",
            "exhausted",
        ],
    ),
    "failures of different classes have no common one": Scenario(
        {"a": [REFUSED], "b": [GONE_BAD]},
        ["all failed: None"],
        "ab",
        [*FAILOVER, "attempt_failed b malformed", "exhausted"],
    ),
    "a throttled target is left alone for as long as it asked": Scenario(
        {"a": [THROTTLED, "ok"], "b": []},
        ["b", "b", "a"],
        "abba",
        ["throttled a throttled", "failed_over a->b throttled"],
        pauses=(0, 9, 3),
    ),
    "the only target is waited for when it asked for patience": Scenario(
        {"a": [status(429, retry_after="2"), "ok"]},
        ["all failed: throttled", "a"],
        "aa",
        ["throttled a throttled", "exhausted"],
    ),
    "N attempts are N sends, untried targets first": Scenario(
        {"a": [REFUSED], "b": [REFUSED]},
        ["all failed: connection"],
        "ababab",
        [
            *FAILOVER,
            "attempt_failed b connection",
            "failed_over b->a connection",
            *FAILOVER,
            "attempt_failed b connection",
            "failed_over b->a connection",
            *FAILOVER,
            "attempt_failed b connection",
            "exhausted",
        ],
        policy=retry("failover"),
    ),
    "N attempts are N sends to one target first, if retries are preferred": Scenario(
        {"a": [REFUSED], "b": []},
        ["b"],
        "aaab",
        ["attempt_failed a connection"] * 2 + FAILOVER,
        policy=retry("retry"),
    ),
    "a silent target is not asked again while another is untried": Scenario(
        {"a": [SILENT], "b": []},
        ["b"],
        "ab",
        ["attempt_failed a timeout", "failed_over a->b timeout"],
        policy=retry("retry"),
    ),
    "an ejected target is not preferred for a retry": Scenario(
        {"a": [REFUSED], "b": []},
        ["b"],
        "ab",
        [*EJECTED, "failed_over a->b connection"],
        policy=retry("retry") | {"breaker": {"consecutive_failures": 1}},
    ),
    "a second send may succeed": Scenario(
        {"a": [REFUSED, "ok"]}, ["a"], "aa", FAILOVER[:1], policy=retry("failover", 2)
    ),
    "a refused key is not sent twice": Scenario(
        {"a": [status(401)]},
        ["all failed: auth"],
        "a",
        ["attempt_failed a auth", "ejected a auth", "exhausted"],
        policy=retry("retry"),
    ),
    "the first provider's error is raised on request": Scenario(
        {"a": [REFUSED], "b": [STRANGE]},
        ["ConnectionRefusedError"],
        "ab",
        [*FAILOVER, "attempt_failed b unknown", "exhausted"],
        policy={"on_exhausted": "first"},
    ),
    "the last provider's error is raised on request": Scenario(
        {"a": [REFUSED], "b": [STRANGE]},
        ["ValueError"],
        "ab",
        [*FAILOVER, "attempt_failed b unknown", "exhausted"],
        policy={"on_exhausted": "last"},
    ),
    "an unknown error is raised on request": Scenario(
        {"a": [STRANGE], "b": []},
        ["ValueError"],
        "a",
        ["attempt_failed a unknown"],
        policy={"on_unknown": "raise"},
    ),
    "unsafe content moves on on request": Scenario(
        {"a": [UNSAFE], "b": []},
        ["b"],
        "ab",
        ["attempt_failed a content_safety", "failed_over a->b content_safety"],
        policy={"on_content_safety": "failover"},
    ),
    "too large an input moves on to a larger window only": Scenario(
        {"a": [TOO_LARGE], "b": [], "c": [], "d": []},
        ["d"],
        "ad",
        ["attempt_failed a input_too_large", "failed_over a->d input_too_large"],
        windows={"a": 4_000, "b": 4_000, "d": 32_000},
    ),
    "too large an input for every window is the caller's own error": Scenario(
        {"a": [TOO_LARGE], "b": [TOO_LARGE], "c": []},
        ["ResponseStatusError"],
        "ab",
        [
            "attempt_failed a input_too_large",
            "failed_over a->b input_too_large",
            "attempt_failed b input_too_large",
        ],
        windows={"b": 32_000},
    ),
    "a disabled target is passed over": Scenario({"a": [], "b": []}, ["b"], "b", disabled=("a",)),
    "a disabled target is no last resort": Scenario(
        {"a": [], "b": [REFUSED]},
        ["all failed: connection"],
        "b",
        ["attempt_failed b connection", "exhausted"],
        disabled=("a",),
    ),
    "with every target disabled nothing is sent": Scenario(
        {"a": []}, ["all failed: None"], "", ["exhausted"], disabled=("a",)
    ),
    "an ejected target is a last resort": Scenario(
        {"a": [REFUSED, "ok"], "b": ["ok", REFUSED]},
        ["b", "a"],
        "abba",
        [
            *EJECTED,
            "failed_over a->b connection",
            "attempt_failed b connection",
            "ejected b connection",
            "switched b->a",
            "failed_over b->a connection",
        ],
        policy={"breaker": {"consecutive_failures": 1}},
        pauses=(0, 2.4),
    ),
    "an ejected target is probed after its cooldown and returns after two answers": Scenario(
        {"a": [REFUSED] * 5 + ["ok"], "b": []},
        [*"bbbbbb", *"aaa"],
        "ab" * 5 + "b" + "aaa",
        [
            *FAILOVER * 4,
            *EJECTED,
            "failed_over a->b connection",
            "probing a",
            "probing a",
            "recovered a",
            "switched b->a",
        ],
        policy={"breaker": {"slow_start": 0}},
        pauses=(0, 0, 0, 0, 0, 0, 5, 0, 0),
    ),
    "a failed probe ejects again": Scenario(
        {"a": [REFUSED], "b": []},
        ["b", "b", "b"],
        "ababb",
        [
            *EJECTED,
            "failed_over a->b connection",
            "probing a",
            "attempt_failed a connection",
            "ejected a connection",
            "failed_over a->b connection",
        ],
        policy={"breaker": {"consecutive_failures": 1}},
        pauses=(0, 5, 4),
    ),
    "a refused key ejects at once and for long": Scenario(
        {"a": [status(401)], "b": []},
        ["b", "b"],
        "abb",
        [
            "attempt_failed a auth",
            "ejected a auth",
            "switched a->b",
            "failed_over a->b auth",
        ],
        pauses=(0, 290),
    ),
}
"""By behaviour, which is the test's name."""


def build(pool: Callable[..., Router], scenario: Scenario) -> Router:
    def client(name: str, script: list[Any]) -> ScriptedClient:
        items = [name if item == "ok" else item for item in script]
        is_dead = len(items) == 1 and isinstance(items[0], Exception)
        return ScriptedClient(name, items, default=items[0] if is_dead else name)

    targets = [
        Target(client(name, script), context_window=scenario.windows.get(name))
        for name, script in scenario.scripts.items()
    ]
    router = pool(*targets, policy=scenario.policy)
    for name in scenario.disabled:
        router.disable(name)
    assert set(trace(router)) <= {"switched a->b"}
    router.events._history.clear()
    return router


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_door_gives_the_same_outcome_and_events(
    scenario: Scenario, door: Door, pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router, sends, outcomes = build(pool, scenario), [], []

    def behave(client: ScriptedClient) -> Any:
        sends.append(client.name)
        return client.call()

    for number in range(len(scenario.outcomes)):
        fake_clock.advance(scenario.pauses[number] if scenario.pauses else 0)
        outcomes.append(outcome(door, router, behave))
    assert outcomes == scenario.outcomes
    assert "".join(sends) == scenario.sends
    assert trace(router) == scenario.events
    assert not any(target.in_flight for target in router.status().targets)
