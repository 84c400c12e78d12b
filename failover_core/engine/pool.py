"""The targets of one router and all that is known of them, under one lock."""

from __future__ import annotations

import itertools
import math
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from failover_core.engine.backoff import throttle_time
from failover_core.engine.breaker import Breaker, State
from failover_core.engine.deadline import UNLIMITED
from failover_core.engine.ports import Clock, Dice
from failover_core.engine.rules import Mark
from failover_core.engine.stats import TargetStats
from failover_core.engine.strategies import Strategy
from failover_core.engine.workers import Workers
from failover_core.events import EventKind, FailoverEvent
from failover_core.policy import FailoverPolicy
from failover_core.targets import Target

if TYPE_CHECKING:
    from failover_core.engine.attempt import Attempt, Failure

_LEASE_MARGIN = 1.0
_LEASE_UNBOUNDED = 60.0
"""Seconds after which a probe without any timeout is taken for lost."""


class TargetState:
    """One target's breaker, throttle, switch and counts."""

    __slots__ = (
        "breaker",
        "disabled",
        "in_flight",
        "keeps_deadline",
        "slot",
        "stats",
        "target",
        "throttled_until",
        "throttles_in_a_row",
        "timeout_cap",
        "workers",
    )

    def __init__(self, slot: int, target: Target, policy: FailoverPolicy, breaker: Breaker) -> None:
        client = target.client
        caps = (
            target.attempt_timeout,
            policy.attempt_timeout,
            getattr(client, "default_attempt_timeout", None),
        )
        self.slot = slot
        self.target = target
        self.breaker = breaker
        self.timeout_cap: float = next((cap for cap in caps if cap is not None), UNLIMITED)
        self.keeps_deadline: bool = getattr(client, "enforces_deadline", False) is True
        self.stats = TargetStats()
        self.workers = Workers()
        self.disabled = False
        self.throttled_until = 0.0
        self.throttles_in_a_row = 0
        self.in_flight = 0

    def reset(self, now: float) -> None:
        """Forget health and counts; attempts in flight still give their permits back."""
        self.breaker.reset(now)
        self.stats = TargetStats()
        self.throttled_until = 0.0
        self.throttles_in_a_row = 0

    @property
    def ready_at(self) -> float:
        """Instant from which the target is a first choice again."""
        return max(self.throttled_until, self.breaker.ready_at)

    @property
    def lease(self) -> float:
        """Seconds after which a probe's permit returns by itself."""
        cap = self.timeout_cap
        return _LEASE_UNBOUNDED if math.isinf(cap) else cap + _LEASE_MARGIN


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
        self.calls = self.succeeded = self.failed_over = self.failed = 0
        self._call_numbers = itertools.count(1)
        _POOLS.add(self)

    def next_call_id(self) -> str:
        """Return an identifier for a call, unique in this process and pool."""
        return f"{self.name}-{next(self._call_numbers)}"

    def order_locked(self) -> Sequence[TargetState]:
        """Return the targets in the order of the strategy, a preferred one first."""
        order = self.strategy(self.states)
        if len(order) < len(self.states):  # what a strategy leaves out is still a last choice
            order = [*order, *(state for state in self.states if state not in order)]
        if self.preferred is None:
            return order
        return [self.preferred, *(state for state in order if state is not self.preferred)]

    def active_locked(self, now: float) -> TargetState | None:
        """Return the target that the next call would try first; None if all are disabled."""
        enabled = [state for state in self.order_locked() if not state.disabled]
        ready = (state for state in enabled if state.ready_at <= now)
        return next(ready, None) or min(enabled, key=lambda state: state.ready_at, default=None)

    def mark_success_locked(self, attempt: Attempt, now: float) -> Sequence[FailoverEvent]:
        """Record a success; return what follows from it."""
        state, breaker = attempt.state, attempt.state.breaker
        state.stats.succeeded(now, attempt.latency or 0.0)
        state.throttles_in_a_row = 0
        if breaker.state is State.CLOSED:
            breaker.success(attempt.generation, now)
            return ()
        before = self.active_locked(now)
        if not breaker.success(attempt.generation, now):
            return ()
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
        if mark is Mark.THROTTLE:
            state.throttles_in_a_row += 1
            longest = self.policy.breaker.max_cooldown
            asked = None if found.retry_after is None else min(found.retry_after, longest)
            cooldown = throttle_time(asked, state.throttles_in_a_row, self.dice)
            state.throttled_until = max(state.throttled_until, now + cooldown)
            state.breaker.release(generation, now)
            return ()
        before = self.active_locked(now)
        eject = state.breaker.eject if mark is Mark.EJECT else state.breaker.failure
        if not eject(generation, now):
            return ()
        ejected = self.event(
            EventKind.EJECTED,
            target=state.target.name,
            reason=f"for {state.breaker.ready_at - now:.1f} s",
            error_class=found.error_class,
            error=found.summary,
        )
        return (ejected, *self.switches_locked(before, now, "ejected"))

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

    def event(self, kind: EventKind, **details: Any) -> FailoverEvent:
        """Return an event of this pool, dated now."""
        return FailoverEvent(time=self.clock.wall(), pool=self.name, kind=kind, **details)

    def renew_after_fork(self) -> None:
        """Replace a lock that another thread may have held, and forget that thread's calls."""
        self.lock = threading.RLock()
        for state in self.states:
            state.in_flight = 0
            state.workers = Workers()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _renew_pools() -> None:
    for pool in tuple(_POOLS):
        pool.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_pools)
