"""Calls interleaved in every order that Hypothesis can think of.

A failing run is named by its test and replays as it is: its seed is its number.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from failover_core import AllTargetsFailedError, Router, Target
from failover_core.engine.attempt import Attempt, Wait
from failover_core.engine.call import Call
from failover_core.testing import FakeClock
from tests.engine.doors import status
from tests.engine.limits_model import TargetModel
from tests.engine.test_schedules import STRATEGIES
from tests.engine.worlds import FAULTS
from tests.figures import Figure, size

NAMES = "abcd"
PARTS = size(ci=4, full=20)  # Hypothesis remembers all of a part
STEPS = 80
LEGAL = {
    ("closed", "open"),
    ("open", "half_open"),
    ("half_open", "open"),
    ("half_open", "closed"),
    ("open", "closed"),  # by a reset
}
EVENTS = ("steps", "sends", "resends", "hedges", "waits", "refusals")
TOO_LARGE = status(413)
ERRORS = [*FAULTS, *FAULTS, TOO_LARGE, status(400), status(400, code="content_filter")]
PRICE = (10_000, 10_000)  # a hundredth for each token

NAME = st.sampled_from(NAMES)
PICK = st.integers(0, 99)
TOKENS = st.sampled_from((0, 10, 60, 2_000))
STRATEGY = st.sampled_from(STRATEGIES)
KINDS = st.sampled_from(
    [
        {},
        {},
        {"max_concurrency": 1},
        {"max_concurrency": 2, "requests_per_minute": 3},
        {"requests_per_day": 5},
        {"tokens_per_minute": 100},
        {"price": PRICE, "spend_limit": 2},
        {"price": PRICE},
        {"supports": {"tools"}},
        {"supports": set(), "max_concurrency": 1},
        {"context_window": 50},
        {"context_window": 1_000, "price": PRICE},
    ]
)
POLICIES = st.fixed_dictionaries(
    {
        "retry": st.fixed_dictionaries(
            {
                "attempts": st.sampled_from((1, 3, 30)),
                "prefer": st.sampled_from(("failover", "retry")),
                "budget": st.sampled_from((None, 0.2, 0.2, 0.0)),
            }
        ),
        "breaker": st.fixed_dictionaries(
            {
                "consecutive_failures": st.sampled_from((1, 2, 5)),
                "slow_start": st.sampled_from((0.0, 30.0)),
                "panic_threshold": st.sampled_from((0.0, 0.5, 1.0)),
            }
        ),
        "hedge": st.sampled_from((None, {"after": 1.0}, {"after": 1.0}, {"after": "p95"})),
        "spend_limit": st.sampled_from((None, None, 3.0)),
    }
)


@dataclass(eq=False)
class Flight:
    """A call that is under way.

    Attributes:
        tried: where it was sent, repetitions included.
        live: its attempts in flight, two of a hedge.
        window: context window that its targets must have; 0 is any.
        pause: seconds it was told to wait, when it is not in flight.
    """

    call: Call
    tokens: int
    requires: frozenset[str]
    tried: list[str] = field(default_factory=list)
    live: list[Attempt] = field(default_factory=list)
    window: float = 0
    is_too_large: bool = False
    pause: float = 0.0
    latest_error: BaseException | None = None


class Calls(RuleBasedStateMachine):
    """Any number of calls under way on one pool, driven by hand.

    Attributes:
        seen: what happened in all runs.
    """

    seen: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.flying: list[tuple[Flight, Attempt]] = []
        self.landed: list[tuple[Flight, Attempt]] = []
        self.waiting: list[Flight] = []
        self.disabled: set[str] = set()
        self.begun = self.answers = self.extras = self.hedges = 0

    @initialize(
        kinds=st.tuples(KINDS, KINDS, KINDS, KINDS),
        policy=POLICIES,
        strategy=STRATEGY,
        dice=st.integers(0, 999),
    )
    def build(
        self, kinds: tuple[dict[str, Any], ...], policy: Any, strategy: str, dice: int
    ) -> None:
        if not any("price" in kind for kind in kinds):
            policy = {**policy, "spend_limit": None}
        targets = [Target(n, name=n, **kind) for n, kind in zip(NAMES, kinds, strict=True)]
        self.router = Router(
            targets, policy=policy, strategy=strategy, clock=self.clock, dice=random.Random(dice)
        )
        self.policy = self.router.policy
        self.states = dict.fromkeys(NAMES, "closed")
        now = self.clock.now()
        self.models = {name: TargetModel(self.target(name), now) for name in NAMES}

    def target(self, name: str) -> Target:
        return self.router.targets[NAMES.index(name)]

    # What a call may do

    def may_serve(self, flight: Flight, name: str) -> bool:
        target = self.target(name)
        if name in self.disabled:
            return False
        if target.supports is not None and not flight.requires <= set(target.supports):
            return False
        unknown = 0 if flight.is_too_large else float("inf")
        return not flight.window or (target.context_window or unknown) >= flight.window

    def has_room(self, flight: Flight, name: str) -> bool:
        now = self.clock.now()
        return self.router._pool.state_of(name).room_at(now, flight.tokens) <= now

    def start(self, flight: Flight, attempt: Attempt, *, is_hedge: bool = False) -> None:
        name = str(attempt.target.name)
        assert self.may_serve(flight, name), f"{name} cannot serve this call"
        self.models[name].send(self.clock.now(), flight.tokens)
        if self.policy.spend_limit is not None and attempt.target.price:
            spent = sum(model.spent(self.clock.now()) for model in self.models.values())
            assert spent + flight.tokens / 100 <= self.policy.spend_limit + 1e-6
        self.seen["sends"] += 1
        self.seen["hedges"] += is_hedge
        self.seen["resends"] += name in flight.tried
        self.hedges += is_hedge
        self.extras += is_hedge or name in flight.tried
        flight.tried.append(name)
        flight.live.append(attempt)
        self.flying.append((flight, attempt))

    def go_on(self, flight: Flight) -> None:
        """Ask what is next, and do it."""
        self.look_at_states()
        step = flight.call.next()
        if isinstance(step, Attempt):
            self.start(flight, step)
        elif isinstance(step, Wait):
            assert step.seconds > 0
            self.seen["waits"] += 1
            flight.pause = step.seconds
            self.waiting.append(flight)
        elif isinstance(step.error, AllTargetsFailedError):
            self.seen["refusals"] += 1
            able = {n for n in NAMES if self.may_serve(flight, n) and self.has_room(flight, n)}
            assert able <= set(flight.tried), "refused though a target could have been tried"
        else:
            assert step.error is flight.latest_error

    def land(self, flight: Flight, attempt: Attempt) -> None:
        flight.live.remove(attempt)
        self.flying.remove((flight, attempt))
        self.landed = [*self.landed[-20:], (flight, attempt)]

    def picked(self, pick: int) -> tuple[Flight, Attempt]:
        return self.flying[pick % len(self.flying)]

    # Calls

    @rule(
        number=st.integers(1, 4),
        tokens=TOKENS,
        requires=st.sampled_from(((), (), ("tools",), ("tools", "images"))),
        preferred=st.none() | NAME,
    )
    def begin(
        self, number: int, tokens: int, requires: tuple[str, ...], preferred: str | None
    ) -> None:
        for _ in range(number):
            self.begin_one(tokens, requires, preferred)

    def begin_one(self, tokens: int, requires: tuple[str, ...], preferred: str | None) -> None:
        options: Any = {"tokens": tokens, "requires": requires, "preferred_target": preferred}
        flight = Flight(self.router.begin(**options), tokens, frozenset(requires))
        self.begun += 1
        enabled = (self.target(name) for name in NAMES if name not in self.disabled)
        if any((target.context_window or tokens) >= tokens for target in enabled):
            flight.window = tokens
        is_due = preferred is not None and self.is_first(flight, preferred)
        self.go_on(flight)
        assert not is_due or flight.tried == [preferred]

    def is_first(self, flight: Flight, name: str) -> bool:
        """Return whether nothing speaks against a preferred target."""
        state = self.router._pool.state_of(name)
        is_healthy = state.breaker.state == "closed" and not state.breaker.returning
        is_free = state.resting_until <= self.clock.now()
        able = self.may_serve(flight, name) and self.has_room(flight, name)
        return is_healthy and is_free and able

    @precondition(lambda self: self.waiting)
    @rule(pick=PICK)
    def ask_again(self, pick: int) -> None:
        self.resume(self.waiting[pick % len(self.waiting)])

    def resume(self, flight: Flight) -> None:
        self.waiting.remove(flight)
        self.clock.advance(flight.pause)
        self.go_on(flight)

    @precondition(lambda self: self.flying)
    @rule(pick=PICK, used=st.none() | st.tuples(st.integers(0, 80), st.integers(0, 80)))
    def succeed(self, pick: int, used: tuple[int, int] | None) -> None:
        flight, attempt = self.picked(pick)
        flight.call.succeeded(attempt)
        self.land(flight, attempt)
        self.answers += 1
        for other in tuple(flight.live):
            flight.call.abandoned(other)
            self.land(flight, other)
        if used:
            flight.call.used(*used)
            self.models[str(attempt.target.name)].use(self.clock.now(), sum(used))

    @precondition(lambda self: self.flying)
    @rule(pick=PICK, errors=st.lists(st.sampled_from(ERRORS), min_size=1, max_size=9))
    def fail(self, pick: int, errors: list[Exception]) -> None:
        flight, attempt = self.picked(pick)
        for error in errors:
            self.fail_once(flight, attempt, error)
            self.states_change_only_as_a_breaker_may()
            if flight in self.waiting:
                self.resume(flight)
                self.states_change_only_as_a_breaker_may()
            if not flight.live:
                break
            attempt = flight.live[-1]

    def fail_once(self, flight: Flight, attempt: Attempt, error: Exception) -> None:
        flight.call.failed(attempt, error)
        self.land(flight, attempt)
        flight.latest_error = error
        if error is TOO_LARGE:
            flight.is_too_large = True
            flight.window = (attempt.target.context_window or 0) + 1
        if flight.call.is_over:
            for other in tuple(flight.live):
                flight.call.abandoned(other)
                self.land(flight, other)
        if not flight.live:
            self.go_on(flight)

    @precondition(lambda self: self.flying)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        flight, _ = self.picked(pick)
        for attempt in tuple(flight.live):
            flight.call.failed(attempt, GeneratorExit())
            self.land(flight, attempt)

    @precondition(lambda self: self.landed)
    @rule(pick=PICK)
    def report_again(self, pick: int) -> None:
        """A permit comes back once, whatever is said of its attempt afterwards."""
        flight, attempt = self.landed[pick % len(self.landed)]
        (flight.call.succeeded, flight.call.abandoned)[pick % 2](attempt)
        flight.call.failed(attempt, OSError("late"))

    @precondition(lambda self: self.flying)
    @rule(pick=PICK)
    def commit(self, pick: int) -> None:
        flight, attempt = self.picked(pick)
        if len(flight.live) == 1:
            flight.call.commit(attempt)

    @precondition(lambda self: self.flying)
    @rule(pick=PICK)
    def hedge(self, pick: int) -> None:
        flight, attempt = self.picked(pick)
        if len(flight.live) > 1 or attempt.committed or attempt.hedge_after is None:
            return
        if (second := flight.call.hedge(attempt)) is not None:
            assert second.target.name not in flight.tried
            self.start(flight, second, is_hedge=True)

    # What happens beside them

    @rule(seconds=st.sampled_from((0.0, 0.1, 2.0, 3.0, 5.0, 10.0, 60.0, 400.0, 3_600.0, 90_000.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(name=NAME, change=st.sampled_from(("enable", "disable", "switch", "reset")))
    def steer(self, name: str, change: str) -> None:
        match change:
            case "enable":
                self.router.enable(name)
                self.disabled.discard(name)
            case "disable":
                self.router.disable(name)
                self.disabled.add(name)
            case "switch":
                self.router.switch(name)
            case _:
                self.router.reset()
                self.states = dict.fromkeys(NAMES, "closed")

    @rule(strategy=STRATEGY)
    def set_strategy(self, strategy: str) -> None:
        self.router.set_strategy(strategy)

    # What always holds

    @invariant()
    def permits_are_the_attempts_in_flight(self) -> None:
        self.seen["steps"] += 1
        flying = Counter(attempt.target.name for _, attempt in self.flying)
        for target in self.router.status().targets:
            assert target.in_flight == flying[target.name]
            most = self.target(target.name).max_concurrency
            assert most is None or target.in_flight <= most

    @invariant()
    def states_change_only_as_a_breaker_may(self) -> None:
        self.look_at_states()
        ejected = sum(state != "closed" for state in self.states.values())
        assert self.router._pool.ejected == ejected

    def look_at_states(self) -> None:
        """Compare each breaker's state with the one before."""
        for target in self.router.status().targets:
            before, self.states[target.name] = self.states[target.name], str(target.state)
            assert before == target.state or (before, target.state) in LEGAL

    @invariant()
    def extra_sends_stay_within_their_budgets(self) -> None:
        share = self.policy.retry.budget
        if share is not None:
            assert self.extras <= (10 if share else 0) + share * self.answers + 1e-6
        if hedge := self.policy.hedge:
            assert self.hedges <= 10 + hedge.budget * self.begun + 1e-6

    def teardown(self) -> None:
        while self.flying:
            self.cancel(0)
        if hasattr(self, "router"):
            assert not any(target.in_flight for target in self.router.status().targets)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_permits_are_attempts_in_flight_and_no_call_is_refused_early(
    part: int, figure: Figure
) -> None:
    class Machine(Calls):
        seen: ClassVar[Counter[str]] = Counter()

    # Hypothesis ends some runs early.
    examples = size(ci=20_000, full=1_000_000) * 5 // 4 // STEPS // PARTS
    try:
        run_state_machine_as_test(
            seed(part)(Machine),
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        counts: dict[str, Any] = {name: Machine.seen[name] for name in EVENTS}
        figure("state machine", **counts)
    assert all(Machine.seen[name] for name in ("steps", "sends", "resends"))
