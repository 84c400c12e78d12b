"""The targets of one router and all that is known of them, under one lock."""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from failover_core.engine.breaker import Breaker
from failover_core.engine.budget import Budget
from failover_core.engine.hedging import Hedging
from failover_core.engine.limits import Daily, Limits
from failover_core.engine.ports import Clock, Dice
from failover_core.engine.strategies import Strategy
from failover_core.engine.target_state import TargetState
from failover_core.engine.throttle import AdaptiveThrottle
from failover_core.engine.workers import Workers
from failover_core.errors import ConfigurationError
from failover_core.events import EventKind, FailoverEvent
from failover_core.policy import FailoverPolicy
from failover_core.targets import Target


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

    Attributes:
        ejected: number of targets whose breaker is not closed.
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
        self.calls = self.succeeded = self.failed_over = self.failed = self.degraded = 0
        self.ejected = 0
        self._call_numbers = itertools.count(1)
        _POOLS.add(self)

    def next_call_id(self) -> str:
        """Return an identifier for a call, unique in this process and pool."""
        return f"{self.name}-{next(self._call_numbers)}"

    @property
    def enabled(self) -> list[TargetState]:
        """The states of the targets that are not disabled."""
        return [state for state in self.states if not state.disabled]

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

    def order_locked(
        self, now: float, preferred: TargetState | None, *, is_first: bool, spread: bool
    ) -> Iterator[TargetState]:
        """Yield every target, some of them twice, asking the strategy only for what is needed."""
        order: Iterable[TargetState]
        if spread:
            order = sorted(self.states, key=_in_flight)
        else:
            ask = self.strategy.order if is_first else self.strategy.order_again
            order = ask(self.states, now)
        # What a strategy leaves out is still a last choice.
        return itertools.chain(self._first(preferred), order, self.states)

    def active_locked(self, now: float) -> TargetState | None:
        """Return the target that the next call would try first; None if there is no such one."""
        if self.strategy.spreads and self.preferred is None:
            return None
        order = self.strategy.look(self.states, now)
        every = itertools.chain(self._first(None), order, self.states)
        enabled = [state for state in every if not state.disabled]
        ready = (state for state in enabled if state.ready_at <= now)
        return next(ready, None) or min(enabled, key=lambda state: state.ready_at, default=None)

    def _first(self, preferred: TargetState | None) -> tuple[TargetState, ...]:
        """Return what comes before the order of the strategy: a call's wish, a manual switch."""
        if preferred is self.preferred is None:
            return ()
        return tuple(state for state in (preferred, self.preferred) if state is not None)

    def is_ready_locked(self, state: TargetState, now: float) -> bool:
        """Return whether calls may go to a target at first hand."""
        if state.is_ready(now):
            return True
        return state.is_overloaded and state.resting_until <= now and self._panics()

    def _panics(self) -> bool:
        """Whether so few targets are left that calls spread over the overloaded ones as well.

        Not under an adaptive throttle, which sheds what the few cannot serve instead.
        """
        if not self.strategy.spreads or self.throttle:
            return False
        in_service = len(self.states) - self.ejected
        return in_service < self.policy.breaker.panic_threshold * len(self.states)

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

    def wake(self, state: TargetState) -> None:
        """Call a target's ``wake``, in a thread of its own, if its warm-up has just begun."""
        target = state.target
        if (wake := target.wake) is None:
            return
        with self.lock:
            is_due, state.must_wake = state.must_wake, False
        if is_due:
            state.workers.leave_to_itself(partial(wake, target.client), name=str(target.name))

    def reset_locked(self, now: float) -> None:
        """Forget health, counts and a manual switch."""
        self.preferred = None
        self.calls = self.succeeded = self.failed_over = self.failed = self.degraded = 0
        self.ejected = 0
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


def _in_flight(state: TargetState) -> float:
    return state.in_flight / state.target.weight


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _renew_pools() -> None:
    for pool in tuple(_POOLS):
        pool.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_pools)
