"""Where a call goes next: the one place that decides it.

In this order: the same target again if the policy prefers that; an untried target that is
ready; an untried one that is not, for ejection is an order and never a refusal; a tried one
once more; and only then the end. Everything here runs with the pool's lock held.
"""

from __future__ import annotations

import math
from itertools import islice

from failover_core.engine.attempt import Attempt, Failure, GiveUp, Step, Wait
from failover_core.engine.backoff import retry_wait
from failover_core.engine.deadline import UNLIMITED, share_of
from failover_core.engine.pool import Pool, TargetState
from failover_core.engine.rules import Move
from failover_core.engine.verdict import exhausted
from failover_core.errors import ErrorClass

_SHARES = 4
"""The time left is split over so many targets at the most: the first of a hundred must not be
cut to a hundredth of it, and a healthy call must not count them all."""

_FAIR = 0.9
"""Part of an equal share below which a timeout is our fault and not the target's."""


class Route:
    """The targets of one call in order, those it was sent to, and how they failed.

    Attributes:
        order: the targets, most wanted first.
        failures: one for each failed attempt, in order.
        attempts: number of attempts so far.
        streaming: whether attempts end with the first content of a stream.
    """

    __slots__ = (
        "_deadline",
        "_pool",
        "_rested",
        "_sends",
        "_waited",
        "_window",
        "attempts",
        "failures",
        "order",
        "streaming",
    )

    def __init__(self, pool: Pool, deadline: float) -> None:
        self._pool = pool
        self._deadline = deadline
        self._sends: dict[int, int] = {}
        self._window = 0
        self._rested = False
        self._waited = 0.0
        self.order = pool.order_locked()
        self.failures: list[Failure] = []
        self.attempts = 0
        self.streaming = False

    def add(self, failure: Failure) -> None:
        """Take a failed attempt into account."""
        self.failures.append(failure)
        if failure.rule.move is Move.LARGER:
            self._window = (failure.attempt.target.context_window or 0) + 1

    def decide(self, now: float) -> Step:
        """Return the next step of the call."""
        if now >= self._deadline:
            return self._give_up("its total_timeout is over")
        if self.failures and (step := self._resend(self._same_again(now), now)):
            return step
        later: list[TargetState] = []
        for state in self.order:
            if state.slot in self._sends or state.disabled or not self._fits(state):
                continue
            if state.throttled_until <= now and state.breaker.ready_at <= now:
                return self._start(state, now)
            later.append(state)
        if later:
            return self._last_resort(later, now)
        return self._resend(self._once_more(), now) or self._give_up()

    def _last_resort(self, later: list[TargetState], now: float) -> Step:
        """Start at the untried target that returns first; wait only for one that asked for it."""
        ejected = [state for state in later if state.throttled_until <= now]
        state = min(ejected or later, key=lambda state: state.ready_at)
        wait = None if ejected else self._cooling_wait(state, now)
        return wait or self._start(state, now)

    def _same_again(self, now: float) -> Failure | None:
        """With ``prefer="retry"``, the latest failure, if its target may do better at once."""
        failure = self.failures[-1]
        if self._pool.policy.retry.prefer != "retry" or failure.error_class is ErrorClass.TIMEOUT:
            return None
        is_ready = failure.attempt.state.ready_at <= now
        return failure if is_ready and self._may_resend(failure) else None

    def _once_more(self) -> Failure | None:
        """The latest failure of the target with the fewest sends that may do better now."""
        latest = {failure.attempt.state.slot: failure for failure in self.failures}
        again = (failure for failure in latest.values() if self._may_resend(failure))
        return min(again, key=lambda f: self._sends[f.attempt.state.slot], default=None)

    def _may_resend(self, failure: Failure) -> bool:
        state = failure.attempt.state
        sends_left = self._pool.policy.retry.attempts - self._sends[state.slot]
        return failure.rule.again and sends_left > 0 and not state.disabled and self._fits(state)

    def _resend(self, failure: Failure | None, now: float) -> Step | None:
        """Rest, then start at the target of a failure again; None if there is no time for it."""
        if failure is None:
            return None
        state = failure.attempt.state
        if not self._rested:
            self._rested = True
            policy = self._pool.policy.retry
            sends = self._sends[state.slot]
            backoff = retry_wait(policy, sends, failure.error, self._pool.dice)
            if now + backoff >= self._deadline:
                return None
            if wait := self._cooling_wait(state, now):
                return wait
            if backoff > 0:
                return Wait(backoff)
        return self._start(state, now)

    def _cooling_wait(self, state: TargetState, now: float) -> Wait | None:
        """The wait for a throttled target, if the call has the time to wait for it."""
        seconds = state.throttled_until - now
        left = self._deadline - now
        if math.isinf(left):
            left = self._pool.policy.retry.max_wait - self._waited
        if not 0 < seconds < left:
            return None
        self._waited += seconds
        return Wait(seconds)

    def _fits(self, state: TargetState) -> bool:
        return not self._window or (state.target.context_window or 0) >= self._window

    def _start(self, state: TargetState, now: float) -> Attempt:
        self.attempts += 1
        attempt = Attempt(state, self.attempts, now)
        self._sends[state.slot] = self._sends.get(state.slot, 0) + 1
        self._rested = False
        state.in_flight += 1
        state.stats.started(now)
        self._limit(attempt, now)
        return attempt

    def _limit(self, attempt: Attempt, now: float) -> None:
        """Give the attempt its time: its cap, or its share of what the deadline leaves."""
        policy = self._pool.policy
        cap = attempt.state.timeout_cap
        if self.streaming and policy.first_token_timeout is not None:
            cap = min(cap, policy.first_token_timeout)
        if policy.total_timeout is not None:
            attempt.timeout = share_of(self._deadline - now, self._targets_left(now), cap)
            equal = policy.total_timeout / min(_SHARES, len(self.order))
            attempt.is_fair = attempt.timeout >= _FAIR * min(cap, equal)
        elif cap < UNLIMITED:
            attempt.timeout = cap

    def _targets_left(self, now: float) -> int:
        """Count who the time left is for: this attempt, ready targets, and one last resort."""
        untried = (s for s in self.order if s.slot not in self._sends and not s.disabled)
        ready = (state.ready_at <= now for state in untried)
        counted = list(islice(ready, _SHARES - 1))
        return 1 + sum(counted) + (not all(counted))

    def _give_up(self, reason: str | None = None) -> GiveUp:
        if self.failures and reason is None and self.failures[-1].rule.move is Move.LARGER:
            return GiveUp(self.failures[-1].error, is_lost=False)
        return GiveUp(exhausted(self._pool, self.failures, reason))
