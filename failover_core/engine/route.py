"""Where a call goes next: the one place that decides it.

In this order: the same target again if the policy prefers that; an untried target that is
ready; one whose limits have room in time; one that is not ready, for ejection is an order and
never a refusal; a tried one once more; and only then the end. Everything here runs with the
pool's lock held.
"""

from __future__ import annotations

from failover_core.engine.attempt import Attempt, Failure, GiveUp, Step, Wait
from failover_core.engine.backoff import retry_wait
from failover_core.engine.deadline import UNLIMITED, share_of
from failover_core.engine.needs import Needs
from failover_core.engine.pool import Pool
from failover_core.engine.rules import Move
from failover_core.engine.target_state import TargetState
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
        needs: what the call needs of a target.
        failures: one for each failed attempt, in order.
        attempts: number of attempts so far.
        streaming: whether attempts end with the first content of a stream.
        first_choice: the first target that could serve the call, its health aside.
    """

    __slots__ = (
        "_deadline",
        "_has_hedged",
        "_is_counted",
        "_is_too_large",
        "_pool",
        "_preferred",
        "_rested",
        "_sends",
        "_waited",
        "_window",
        "attempts",
        "failures",
        "first_choice",
        "needs",
        "streaming",
    )

    def __init__(self, pool: Pool, needs: Needs, deadline: float) -> None:
        self._pool = pool
        self._deadline = deadline
        preferred = needs.preferred_target
        self._preferred = None if preferred is None else pool.state_of(preferred)
        self._is_counted = False
        self._sends: dict[int, int] = {}
        self._window = needs.window_among(pool.enabled) if needs.tokens else 0
        self._rested = False
        self._waited = 0.0
        self._is_too_large = False
        self._has_hedged = False
        self.needs = needs
        self.failures: list[Failure] = []
        self.attempts = 0
        self.streaming = False
        self.first_choice: TargetState | None = None

    def add(self, failure: Failure) -> None:
        """Take a failed attempt into account."""
        self.failures.append(failure)
        if failure.rule.move is Move.LARGER:
            self._is_too_large = True
            self._window = (failure.attempt.target.context_window or 0) + 1

    def decide(self, now: float) -> Step:
        """Return the next step of the call."""
        if not self._is_counted:
            self._is_counted = True
            self._pool.begin_locked()
        if now >= self._deadline:
            return self._give_up("its total_timeout is over")
        if self.failures and (step := self._resend(self._same_again(now), now)):
            return step
        ready, limited, later = self._untried(now)
        if ready:
            return self._start(ready, now)
        if limited and (wait := self._wait_for_room(limited, now, is_last=not later)):
            return wait
        if later:
            return self._last_resort(later, now)
        return self._resend(self._once_more(), now) or self._give_up()

    def hedge(self, now: float) -> Attempt | None:
        """Start a second attempt beside a slow one, if there are a target and a budget for it."""
        pool = self._pool
        if self._has_hedged or pool.hedging is None:
            return None
        if not (pool.hedging.budget.allows and pool.retries.allows):
            return None
        ready, _, _ = self._untried(now)
        if ready is None:
            return None
        self._has_hedged = True
        pool.hedging.budget.spend()
        pool.retries.spend()
        return self._start(ready, now)

    def _untried(
        self, now: float
    ) -> tuple[TargetState | None, list[TargetState], list[TargetState]]:
        """Return the untried target to go to; and those whose limits, or health, forbid it now.

        A target that has just returned is passed over now and then, if another one is ready.
        """
        ready: TargetState | None = None
        returning: TargetState | None = None
        limited: list[TargetState] = []
        later: list[TargetState] = []
        # A fresh order each time: loads have changed since the last look, and an order that is
        # kept would have to be kept by every call in flight.
        is_first, spread = not self._sends, self.needs.spread
        order = self._pool.order_locked(now, self._preferred, is_first=is_first, spread=spread)
        for state in order:
            if state.slot in self._sends or not self._may_serve(state):
                continue
            if state.room_at(now, self.needs.tokens) > now:
                limited.append(state)
            elif not self._is_ready(state, now):
                later.append(state)
            elif not state.breaker.returning or self._gets_share(state, now):
                ready = state
                break
            else:
                returning = returning or state
        return ready or returning, limited, later

    def _is_ready(self, state: TargetState, now: float) -> bool:
        self.first_choice = self.first_choice or state
        return self._pool.is_ready_locked(state, now)

    def _gets_share(self, state: TargetState, now: float) -> bool:
        return self._pool.dice.uniform(0.0, 1.0) < state.breaker.share(now)

    def _may_serve(self, state: TargetState) -> bool:
        """Whether the call may go to a target at all."""
        target = state.target
        if state.disabled or not self.needs.admits(target):
            return False
        unknown = 0 if self._is_too_large else UNLIMITED
        return not self._window or (target.context_window or unknown) >= self._window

    def _last_resort(self, later: list[TargetState], now: float) -> Step:
        """Start at the untried target that returns first; wait only for one that asked for it."""
        ejected = [state for state in later if state.resting_until <= now]
        state = min(ejected or later, key=lambda state: state.ready_at)
        if not ejected and (wait := self._wait(state.resting_until - now, now)):
            return wait
        pool = self._pool
        if pool.throttle and pool.throttle.refuses(now, pool.dice):
            return self._give_up("every target is ejected, and the adaptive throttle held it back")
        return self._start(state, now)

    def _wait_for_room(
        self, limited: list[TargetState], now: float, *, is_last: bool
    ) -> Wait | None:
        """The wait for the first target whose limits have room, if the call has time for it."""
        state = min(limited, key=lambda state: state.room_at(now, self.needs.tokens))
        seconds = state.room_at(now, self.needs.tokens) - now
        if not state.is_full:
            return self._wait(seconds, now, is_last=is_last)
        # Calls that wait for one permit must not all look for it at once.
        seconds *= self._pool.dice.uniform(0.5, 1.5)
        if is_last and self._deadline == UNLIMITED:
            return Wait(seconds)  # a permit comes back for certain, sooner or later
        return self._wait(seconds, now, is_last=is_last)

    def _wait(self, seconds: float, now: float, *, is_last: bool = True) -> Wait | None:
        """A wait for a target, if the call has the time; half of it, when others can be tried."""
        policy = self._pool.policy
        left = self._deadline - now
        if left == UNLIMITED:
            left = policy.retry.max_wait - self._waited
        elif not is_last:
            left -= (policy.total_timeout or left) / 2
        if not 0 < seconds < left:
            return None
        self._waited += seconds
        return Wait(seconds)

    def _same_again(self, now: float) -> Failure | None:
        """With ``prefer="retry"``, the latest failure, if its target may do better at once."""
        failure = self.failures[-1]
        if self._pool.policy.retry.prefer != "retry" or failure.error_class is ErrorClass.TIMEOUT:
            return None
        is_ready = failure.attempt.state.is_ready(now)
        return failure if is_ready and self._may_resend(failure) else None

    def _once_more(self) -> Failure | None:
        """The latest failure of the target with the fewest sends that may do better now."""
        latest = {failure.attempt.state.slot: failure for failure in self.failures}
        again = (failure for failure in latest.values() if self._may_resend(failure))
        return min(again, key=lambda f: self._sends[f.attempt.state.slot], default=None)

    def _may_resend(self, failure: Failure) -> bool:
        state, pool = failure.attempt.state, self._pool
        sends_left = pool.policy.retry.attempts - self._sends[state.slot]
        is_allowed = failure.rule.again and sends_left > 0 and pool.retries.allows
        return is_allowed and self._may_serve(state)

    def _resend(self, failure: Failure | None, now: float) -> Step | None:
        """Rest, then start at the target of a failure again; None if there is no time for it."""
        if failure is None:
            return None
        pool, state = self._pool, failure.attempt.state
        if not self._rested:
            self._rested = True
            sends, rest = self._sends[state.slot], state.resting_until - now
            backoff = retry_wait(pool.policy.retry, sends, failure.error, pool.dice)
            if now + backoff >= self._deadline:
                return None
            wait = self._wait(rest, now)
            if wait or (rest > 0 and failure.found.retry_after is not None):
                return wait  # None: it asked for more time than the call has
            if backoff > 0:
                return Wait(backoff)
        if state.room_at(now, self.needs.tokens) > now:
            return self._wait_for_room([state], now, is_last=True)
        pool.retries.spend()
        return self._start(state, now)

    def _start(self, state: TargetState, now: float) -> Attempt:
        pool = self._pool
        self.attempts += 1
        attempt = Attempt(state, self.attempts, now, streaming=self.streaming)
        self._sends[state.slot] = self._sends.get(state.slot, 0) + 1
        self._rested = False
        state.in_flight += 1
        state.stats.started(now)
        if state.limits:
            state.limits.take(now, self.needs.tokens)
        if pool.throttle:
            pool.throttle.sent(now)
        if pool.hedging and not self._has_hedged:
            attempt.hedge_after = pool.hedging.after(streaming=self.streaming)
        self._limit(attempt, now)
        return attempt

    def _limit(self, attempt: Attempt, now: float) -> None:
        """Give the attempt its time: its cap, or its share of what the deadline leaves."""
        policy = self._pool.policy
        cap = attempt.state.timeout_cap
        if self.streaming and policy.first_token_timeout is not None:
            cap = min(cap, policy.first_token_timeout)
        if self._deadline < UNLIMITED:
            attempt.timeout = share_of(self._deadline - now, self._targets_left(now), cap)
            equal = (policy.total_timeout or UNLIMITED) / min(_SHARES, len(self._pool.states))
            attempt.is_fair = attempt.timeout >= _FAIR * min(cap, equal)
        elif cap < UNLIMITED:
            attempt.timeout = cap

    def _targets_left(self, now: float) -> int:
        """Count who the time left is for: this attempt, ready targets, and one last resort."""
        left, has_later = 1, False
        for state in self._pool.states:
            if state.slot in self._sends or not self._may_serve(state):
                continue
            if not state.is_ready(now):
                has_later = True
            elif (left := left + 1) == _SHARES:
                break
        return min(_SHARES, left + has_later)

    def _give_up(self, reason: str | None = None) -> GiveUp:
        if self.failures and reason is None and self.failures[-1].rule.move is Move.LARGER:
            return GiveUp(self.failures[-1].error, is_lost=False)
        enabled = self.needs.candidates(self._pool.enabled)
        lacks = bool(enabled) and not any(self._may_serve(state) for state in enabled)
        reason = reason or self._unserved()
        return GiveUp(exhausted(self._pool, self.failures, reason, is_unsupported=lacks))

    def _unserved(self) -> str | None:
        """Say what kept a call from the targets that it was not sent to."""
        candidates = self.needs.candidates(self._pool.enabled)
        untried = [state for state in candidates if state.slot not in self._sends]
        return "; ".join(f"{s.target.name} {self._obstacle(s)}" for s in untried) or None

    def _obstacle(self, state: TargetState) -> str:
        if missing := self.needs.missing(state.target):
            return f"does not support {', '.join(sorted(missing))}"
        if not self._may_serve(state):
            return "has too small a context window"
        return "has no room within its limits in time"
