"""Calls interleaved in every order that Hypothesis can think of."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from failover_core import AllTargetsFailedError, Router, Target
from failover_core.engine.attempt import Attempt, Wait
from failover_core.engine.call import Call
from failover_core.testing import FakeClock
from tests.engine.worlds import FAULTS

NAMES = "abc"
LEGAL = {
    ("closed", "open"),
    ("open", "half_open"),
    ("half_open", "open"),
    ("half_open", "closed"),
    ("open", "closed"),  # by a reset
}


class Calls(RuleBasedStateMachine):
    """Any number of calls under way on one pool, driven by hand."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.router = Router(
            [Target(name, name=name) for name in NAMES],
            policy={"retry": {"attempts": 2}, "breaker": {"consecutive_failures": 2}},
            clock=self.clock,
            dice=random.Random(1),
        )
        self.flying: list[Attempt] = []
        self.tried: dict[int, set[str]] = {}
        self.disabled: set[str] = set()
        self.states = dict.fromkeys(NAMES, "closed")

    def go_on(self, call: Call) -> Any:
        """Obey a call until it sends or ends; return what to put into the bundle."""
        while isinstance(step := call.next(), Wait):
            self.clock.sleep(step.seconds)
        tried = self.tried.setdefault(id(call), set())
        if isinstance(step, Attempt):
            assert step.target.name not in self.disabled
            tried.add(str(step.target.name))
            self.flying.append(step)
            return (call, step)
        if isinstance(step.error, AllTargetsFailedError):
            untried = set(NAMES) - tried - self.disabled
            assert not untried, f"refused while {untried} could have been tried"
        return multiple()

    @rule(target=under_way)
    def begin(self) -> Any:
        return self.go_on(self.router.begin())

    @rule(pair=consumes(under_way))
    def succeed(self, pair: tuple[Call, Attempt]) -> None:
        call, attempt = pair
        call.succeeded(attempt)
        call.failed(attempt, OSError("a permit comes back once"))
        self.flying.remove(attempt)

    @rule(target=under_way, pair=consumes(under_way), error=st.sampled_from(FAULTS))
    def fail(self, pair: tuple[Call, Attempt], error: Exception) -> Any:
        call, attempt = pair
        call.failed(attempt, error)
        call.succeeded(attempt)
        self.flying.remove(attempt)
        return self.go_on(call)

    @rule(pair=consumes(under_way))
    def cancel(self, pair: tuple[Call, Attempt]) -> None:
        call, attempt = pair
        call.failed(attempt, GeneratorExit())
        self.flying.remove(attempt)

    @rule(pair=under_way)
    def commit(self, pair: tuple[Call, Attempt]) -> None:
        call, attempt = pair
        call.commit(attempt)

    @rule(seconds=st.floats(0, 400))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(name=st.sampled_from(NAMES))
    def disable(self, name: str) -> None:
        self.router.disable(name)
        self.disabled.add(name)

    @rule(name=st.sampled_from(NAMES))
    def enable(self, name: str) -> None:
        self.router.enable(name)
        self.disabled.discard(name)

    @rule(name=st.sampled_from(NAMES))
    def switch(self, name: str) -> None:
        self.router.switch(name)

    @rule()
    def reset(self) -> None:
        self.router.reset()
        self.states = dict.fromkeys(NAMES, "closed")

    @invariant()
    def permits_are_the_attempts_in_flight(self) -> None:
        flying = [attempt.target.name for attempt in self.flying]
        for target in self.router.status().targets:
            assert target.in_flight == flying.count(target.name)

    @invariant()
    def states_change_only_as_a_breaker_may(self) -> None:
        for target in self.router.status().targets:
            before, self.states[target.name] = self.states[target.name], str(target.state)
            assert before == target.state or (before, target.state) in LEGAL


def test_permits_are_attempts_in_flight_and_no_call_is_refused_early() -> None:
    run_state_machine_as_test(
        Calls,
        settings=settings(
            max_examples=250,
            stateful_step_count=80,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
