"""The targets of one router and all that is known of them, under one lock."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from failover_core.engine.backoff import throttle_time
from failover_core.engine.breaker import Breaker, State
from failover_core.engine.budget import Budget
from failover_core.engine.hedging import Hedging
from failover_core.engine.limits import Daily, Limits
from failover_core.engine.ports import Clock, Dice
from failover_core.engine.rules import Mark
from failover_core.engine.strategies import Strategy
from failover_core.engine.target_state import TargetState
from failover_core.engine.throttle import AdaptiveThrottle
from failover_core.engine.workers import Workers
from failover_core.errors import ConfigurationError, ErrorClass
from failover_core.events import EventKind, FailoverEvent
from failover_core.policy import FailoverPolicy
from failover_core.targets import Target

if TYPE_CHECKING:
    from failover_core.engine.attempt import Attempt, Failure

_OVERLOAD = (ErrorClass.TIMEOUT, ErrorClass.SERVER_ERROR)
"""What an overloaded target says; one that is down or refuses a key would not do better for more
of its siblings being out of service."""


class Pool:
    """Targets and their state. Methods that end in ``_locked`` want ``lock`` held.

    The lock is reentrant because an abandoned stream gives its permit back when it is collected,
    and the collector may run in a thread that holds the lock.

    Args:
        targets: with a name each.
        policy: of every call.
        strategy: orders the targets for each call.
        name: of the pool, in events and errors.
        clock: time.
        dice: chance.
        publish: receives each event, after the lock has been released.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        policy: FailoverPolicy,
        strategy: Strategy,
        name: str,
        clock: Clock,
        dice: Dice,
        publish: Callable[[FailoverEvent], None],
    ) -> None:
        now = clock.now()
        self.name = name
        self.policy = policy
        self.strategy = strategy
        self.clock = clock
        self.dice = dice
        self.publish = publish
        self.lock = threading.RLock()
        self.states = tuple(
            TargetState(slot, target, policy, Breaker(policy.breaker, dice, now))
            for slot, target in enumerate(targets)
        )
        self.preferred: TargetState | None = None
        self.retries = Budget(policy.retry.budget)
        self.hedging = Hedging(policy.hedge) if policy.hedge else None
        self.throttle = AdaptiveThrottle() if policy.adaptive_throttle else None
        spend = None if policy.spend_limit is None else Daily(policy.spend_limit)
        for state in self.states:
            state.limits = Limits(state.target, spend) or None
        self.calls = self.succeeded = self.failed_over = self.failed = 0
        self._ejected = 0
        self._call_numbers = itertools.count(1)
        _POOLS.add(self)

    def next_call_id(self) -> str:
        """Return an identifier for a call, unique in this process and pool."""
        return f"{self.name}-{next(self._call_numbers)}"

    def state_of(self, name: str) -> TargetState:
        """Return the state of a target.

        Raises:
            ConfigurationError: there is no target of that name.
        """
        for state in self.states:
            if state.target.name == name:
                return state
        known = ", ".join(str(state.target.name) for state in self.states)
        message = f"pool {self.name!r}: there is no target {name!r}; it has {known}"
        raise ConfigurationError(message)

    def begin_locked(self) -> None:
        """Count a call."""
        self.calls += 1
        if self.hedging:
            self.hedging.budget.earn()

    def order_locked(self, now: float, preferred: TargetState | None) -> Iterator[TargetState]:
        """Yield every target once, asking the strategy only for what is needed."""
        order = self.strategy.order(self.states, now)
        if order is self.states and preferred is self.preferred is None:
            return iter(self.states)
        first = (state for state in (preferred, self.preferred) if state is not None)
        # What a strategy leaves out is still a last choice.
        return _unique(itertools.chain(first, order, self.states))

    def active_locked(self, now: float) -> TargetState | None:
        """Return the target that the next call would try first; None if there is no such one."""
        if self.strategy.spreads and self.preferred is None:
            return None
        first = () if self.preferred is None else (self.preferred,)
        order = itertools.chain(first, self.strategy.look(self.states, now), self.states)
        enabled = [state for state in _unique(order) if not state.disabled]
        ready = (state for state in enabled if state.ready_at <= now)
        return next(ready, None) or min(enabled, key=lambda state: state.ready_at, default=None)

    def is_ready_locked(self, state: TargetState, now: float) -> bool:
        """Return whether calls may go to a target at first hand."""
        if state.is_ready(now):
            return True
        return state.is_overloaded and state.throttled_until <= now and self._panics()

    def _panics(self) -> bool:
        """Whether so few targets are left that calls spread over the overloaded ones as well."""
        in_service = len(self.states) - self._ejected
        threshold = self.policy.breaker.panic_threshold * len(self.states)
        return self.strategy.spreads and in_service < threshold

    def mark_success_locked(self, attempt: Attempt, now: float) -> Sequence[FailoverEvent]:
        """Record a success; return what follows from it."""
        state, breaker = attempt.state, attempt.state.breaker
        latency = attempt.latency or 0.0
        state.stats.succeeded(now, latency)
        state.cost.observe(latency, now)
        state.throttles_in_a_row = 0
        self.retries.earn()
        if self.hedging:
            self.hedging.observe(latency, streaming=attempt.streaming)
        if self.throttle:
            self.throttle.answered(now)
        self.strategy.served(state, began=attempt.started_at, now=now)
        if breaker.state is State.CLOSED:
            breaker.success(attempt.generation, now)
            return ()
        before = self.active_locked(now)
        if not breaker.success(attempt.generation, now):
            return ()
        self._ejected -= 1
        recovered = self.event(
            EventKind.RECOVERED, target=state.target.name, reason="its probes succeeded"
        )
        return (recovered, *self.switches_locked(before, now, "recovered"))

    def mark_failure_locked(self, failure: Failure, now: float) -> Sequence[FailoverEvent]:
        """Record what an error means for its target; return what follows from it."""
        attempt, found, mark = failure.attempt, failure.found, failure.mark
        state, generation = attempt.state, attempt.generation
        if mark is Mark.NONE:
            state.breaker.release(generation, now)
            return ()
        state.stats.failed(now, found, is_throttle=mark is Mark.THROTTLE)
        state.cost.failed(now - attempt.started_at, now)
        if mark is Mark.THROTTLE:
            state.throttles_in_a_row += 1
            longest = self.policy.breaker.max_cooldown
            asked = None if found.retry_after is None else min(found.retry_after, longest)
            cooldown = throttle_time(asked, state.throttles_in_a_row, self.dice)
            state.throttled_until = max(state.throttled_until, now + cooldown)
            state.breaker.release(generation, now)
            return ()
        before, was_closed = self.active_locked(now), state.breaker.state is State.CLOSED
        eject = state.breaker.eject if mark is Mark.EJECT else state.breaker.failure
        if not eject(generation, now):
            return ()
        self._ejected += was_closed
        state.is_overloaded = found.error_class in _OVERLOAD
        ejected = self.event(
            EventKind.EJECTED,
            target=state.target.name,
            reason=f"for {state.breaker.ready_at - now:.1f} s",
            error_class=found.error_class,
            error=found.summary,
        )
        return (ejected, *self.switches_locked(before, now, "ejected"))

    def mark_abandoned_locked(self, attempt: Attempt, now: float) -> None:
        """Take note of the loser of a hedge: it was that slow at least, and no failure."""
        latency = now - attempt.started_at
        if self.hedging:
            self.hedging.observe(latency, streaming=attempt.streaming)
        if latency > (attempt.state.cost.value or 0.0):
            attempt.state.cost.observe(latency, now)
        attempt.state.breaker.release(attempt.generation, now)

    def charge_locked(
        self, state: TargetState, expected: int, input_tokens: int, output_tokens: int
    ) -> None:
        """Count what an answer used, beyond the input tokens that its call expected."""
        price, tokens = state.target.priced, input_tokens + output_tokens
        cost = price.of(input_tokens, output_tokens) if price else 0.0
        state.stats.tokens += tokens
        state.stats.spend += cost
        if state.limits:
            charged = price.of(expected, 0) if price else 0.0
            state.limits.settle(self.clock.now(), tokens - expected, cost - charged)

    def switches_locked(
        self, before: TargetState | None, now: float, reason: str
    ) -> list[FailoverEvent]:
        """Return a ``switched`` event if calls now start at another target than before."""
        after = self.active_locked(now)
        if before is None or after is None or before is after:
            return []
        return [
            self.event(
                EventKind.SWITCHED,
                from_target=before.target.name,
                to_target=after.target.name,
                reason=reason,
            )
        ]

    def reset_locked(self, now: float) -> None:
        """Forget health, counts and a manual switch."""
        self.preferred = None
        self.calls = self.succeeded = self.failed_over = self.failed = self._ejected = 0
        for state in self.states:
            state.reset(now)

    def event(self, kind: EventKind, **details: Any) -> FailoverEvent:
        """Return an event of this pool, dated now."""
        return FailoverEvent(time=self.clock.wall(), pool=self.name, kind=kind, **details)

    def renew_after_fork(self) -> None:
        """Replace a lock that another thread may have held, and forget that thread's calls."""
        self.lock = threading.RLock()
        for state in self.states:
            state.in_flight = 0
            state.workers = Workers()


def _unique(states: Iterable[TargetState]) -> Iterator[TargetState]:
    seen = set()
    for state in states:
        if state.slot not in seen:
            seen.add(state.slot)
            yield state


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _renew_pools() -> None:
    for pool in tuple(_POOLS):
        pool.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_pools)
