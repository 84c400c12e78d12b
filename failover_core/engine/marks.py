"""What the end of an attempt leaves on its target and on its pool.

Everything here wants the pool's lock held, and returns the events to publish without it.
"""

from __future__ import annotations

from collections.abc import Sequence

from failover_core.classify import Classification
from failover_core.engine.attempt import Attempt, Failure
from failover_core.engine.backoff import throttle_time
from failover_core.engine.breaker import State
from failover_core.engine.pool import Pool
from failover_core.engine.rules import Mark, rule_for
from failover_core.engine.target_state import TargetState
from failover_core.errors import ErrorClass
from failover_core.events import EventKind, FailoverEvent

_LOOKS = 10
"""Times that a target is looked at, at least, while it warms up."""

Events = Sequence[FailoverEvent]


def succeeded(pool: Pool, attempt: Attempt, now: float) -> Events:
    """Record an answer."""
    state, breaker = attempt.state, attempt.state.breaker
    latency = attempt.latency or 0.0
    state.stats.succeeded(now, latency)
    state.cost.observe(latency, now)
    state.throttles_in_a_row = 0
    state.warming_since = None
    pool.retries.earn()
    if pool.hedging:
        pool.hedging.observe(latency, streaming=attempt.streaming)
    if pool.throttle:
        pool.throttle.answered(now)
    pool.strategy.served(state, began=attempt.started_at, now=now)
    if breaker.state is State.CLOSED:
        breaker.success(attempt.generation, now)
        return ()
    before = pool.active_locked(now)
    if not breaker.success(attempt.generation, now):
        return ()
    pool.ejected -= 1
    recovered = pool.event(
        EventKind.RECOVERED, target=state.target.name, reason="its probes succeeded"
    )
    return (recovered, *pool.switches_locked(before, now, "recovered"))


def failed(pool: Pool, failure: Failure, now: float) -> Events:
    """Record what an error means for its target."""
    attempt, found, mark = failure.attempt, failure.found, failure.mark
    state, generation = attempt.state, attempt.generation
    if mark is Mark.FAILURE and _is_booting(state, found, now):
        _let_boot(pool, state, now)
        mark = Mark.NONE
    if mark is Mark.NONE:
        state.breaker.release(generation, now)
        return ()
    state.stats.failed(now, found, is_throttle=mark is Mark.THROTTLE)
    state.cost.failed(now - attempt.started_at, now)
    if mark is Mark.THROTTLE:
        _throttle(pool, state, found, now)
        state.breaker.release(generation, now)
        return ()
    return _blame(pool, state, generation, found, mark, now)


def abandoned(pool: Pool, attempt: Attempt, now: float) -> None:
    """Take note of the loser of a hedge: it was that slow at least, and no failure."""
    latency = now - attempt.started_at
    if pool.hedging:
        pool.hedging.observe(latency, streaming=attempt.streaming)
    if latency > (attempt.state.cost.value or 0.0):
        attempt.state.cost.observe(latency, now)
    attempt.state.breaker.release(attempt.generation, now)


def probed(
    pool: Pool, state: TargetState, generation: int, found: Classification | None, now: float
) -> Events:
    """Record what an active probe found, None being health.

    Health ends a cooldown, so that the next call tries the target and may find it well; and an
    error counts against a target in service as that of a call would. All else is left to calls.
    """
    state.probed_at, breaker = now, state.breaker
    if found is None:
        if not (state.may_be_probed_back and breaker.end_cooldown(now)):
            return ()
        return [pool.event(EventKind.PROBING, target=state.target.name, reason="probed well")]
    mark = rule_for(found.error_class, pool.policy).mark
    if mark is Mark.FAILURE and _is_booting(state, found, now):
        _let_boot(pool, state, now)
        return ()
    if breaker.state is not State.CLOSED or mark not in {Mark.FAILURE, Mark.EJECT}:
        return ()
    return _blame(pool, state, generation, found, mark, now)


def charged(
    pool: Pool, attempt: Attempt, expected: int, input_tokens: int, output_tokens: int
) -> None:
    """Count what an answer used, instead of the input tokens that its call expected."""
    state = attempt.state
    price, tokens = state.target.priced, input_tokens + output_tokens
    cost = price.of(input_tokens, output_tokens) if price else 0.0
    state.stats.tokens += tokens
    state.stats.spend += cost
    if state.limits:
        state.limits.settle(pool.clock.now(), attempt.started_at, expected, tokens, cost)


def _is_booting(state: TargetState, found: Classification, now: float) -> bool:
    """Whether a target that may need time to boot or load is still within that time."""
    if state.target.warmup is None:
        return False
    if not found.is_loading and found.error_class is not ErrorClass.CONNECTION:
        return False
    return state.warming_since is None or now - state.warming_since < state.target.warmup


def _let_boot(pool: Pool, state: TargetState, now: float) -> None:
    """Leave a target alone for a tenth of its time, without blame; wake it the first time."""
    if state.warming_since is None:
        state.warming_since = now
        state.must_wake = state.target.wake is not None
    rest = (state.target.warmup or 0.0) / _LOOKS * pool.dice.uniform(0.5, 1.0)
    state.resting_until = max(state.resting_until, now + rest)


def _throttle(pool: Pool, state: TargetState, found: Classification, now: float) -> None:
    state.throttles_in_a_row += 1
    longest = pool.policy.breaker.max_cooldown
    asked = None if found.retry_after is None else min(found.retry_after, longest)
    cooldown = throttle_time(asked, state.throttles_in_a_row, pool.dice)
    state.resting_until = max(state.resting_until, now + cooldown)


def _blame(
    pool: Pool, state: TargetState, generation: int, found: Classification, mark: Mark, now: float
) -> Events:
    """Count a failure against a target; eject it if it is one too many, or grave."""
    before, was_closed = pool.active_locked(now), state.breaker.state is State.CLOSED
    eject = state.breaker.eject if mark is Mark.EJECT else state.breaker.failure
    if not eject(generation, now):
        return ()
    pool.ejected += was_closed
    state.ejected_for = found.error_class
    ejected = pool.event(
        EventKind.EJECTED,
        target=state.target.name,
        reason=f"for {state.breaker.ready_at - now:.1f} s",
        error_class=found.error_class,
        error=found.summary,
    )
    return (ejected, *pool.switches_locked(before, now, "ejected"))
