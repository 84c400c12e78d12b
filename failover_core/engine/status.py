"""What a router knows, as plain records: a pure read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from failover_core.engine.breaker import State
from failover_core.engine.target_state import TargetState

if TYPE_CHECKING:
    from failover_core.engine.pool import Pool
    from failover_core.engine.stats import Latency


class Health(StrEnum):
    """One word for people; the engine decides from the breaker, not from this."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    CHECKING = "checking"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """One target at one moment. Times are Unix seconds, durations seconds.

    Attributes:
        name: of the target.
        model: that its client names, if any.
        state: of its breaker. An ejected target stays ``open`` until a call probes it.
        health: the same in one word.
        consecutive_failures: since the last success.
        consecutive_successes: since the last failure.
        last_success: when it last answered.
        last_failure: when it last failed or throttled.
        last_check: the latest of these two and of its active probes.
        last_error: type and status of its last error; never the provider's text.
        latency: of its newest 64 answers; None without any.
        success_rate: answers per finished request, throttled ones left out; None without any.
        requests: attempts sent to it.
        failures: attempts that count against it.
        throttled: attempts that it throttled.
        in_flight: attempts without an answer yet.
        abandoned: synchronous attempts that outlived their time and still run in a thread.
        requests_per_minute: attempts in the last 60 s.
        tokens: input and output tokens that its answers used, as far as they said so.
        spend: what they cost, by the target's price.
        cooldown_remaining: until it is a first choice again; 0 if it is one.
        is_reference: whether it is the one that the others' vectors are compared with; none is
            while they are compared with a saved space.
    """

    name: str
    model: str | None
    state: State
    health: Health
    consecutive_failures: int
    consecutive_successes: int
    last_check: float | None
    last_success: float | None
    last_failure: float | None
    last_error: str | None
    latency: Latency | None
    success_rate: float | None
    requests: int
    failures: int
    throttled: int
    in_flight: int
    abandoned: int
    requests_per_minute: float
    tokens: int
    spend: float
    cooldown_remaining: float
    is_reference: bool


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """A pool at one moment.

    Attributes:
        name: of the pool.
        active: the target that the next call would try first; None if all are disabled, or if
            the strategy spreads calls over the targets.
        requests: calls begun.
        succeeded: calls answered.
        failed_over: answered calls that another target than the first choice served.
        failed: calls that no target could serve, or whose stream broke.
        degraded: those of them whose caller got a substitute for the answer.
        success_rate: succeeded / (succeeded + failed); None without either.
        tokens: of all targets.
        spend: of all targets.
        targets: their status, in the order they were given.
    """

    name: str
    active: str | None
    requests: int
    succeeded: int
    failed_over: int
    failed: int
    degraded: int
    success_rate: float | None
    tokens: int
    spend: float
    targets: tuple[TargetStatus, ...]

    def __getitem__(self, name: str) -> TargetStatus:
        """Return the status of the target of that name."""
        for target in self.targets:
            if target.name == name:
                return target
        raise KeyError(name)


def status_of(pool: Pool) -> PoolStatus:
    """Read a pool under its lock; nothing is sent and nothing moves."""
    with pool.lock:
        now, wall = pool.clock.now(), pool.clock.wall()
        active = pool.active_locked(now)
        return PoolStatus(
            name=pool.name,
            active=active.target.name if active else None,
            requests=pool.calls,
            succeeded=pool.succeeded,
            failed_over=pool.failed_over,
            failed=pool.failed,
            degraded=pool.degraded,
            success_rate=_rate(pool.succeeded, pool.failed),
            tokens=sum(state.stats.tokens for state in pool.states),
            spend=sum(state.stats.spend for state in pool.states),
            targets=tuple(_target_status(state, now, wall) for state in pool.states),
        )


def _target_status(state: TargetState, now: float, wall: float) -> TargetStatus:
    stats, breaker = state.stats, state.breaker
    success = None if stats.last_success is None else wall - (now - stats.last_success)
    failure = None if stats.last_failure is None else wall - (now - stats.last_failure)
    probed = None if state.probed_at is None else wall - (now - state.probed_at)
    return TargetStatus(
        name=str(state.target.name),
        model=state.target.model,
        state=breaker.state,
        health=_health(state),
        consecutive_failures=stats.failures_in_a_row,
        consecutive_successes=stats.successes_in_a_row,
        last_check=max((at for at in (success, failure, probed) if at is not None), default=None),
        last_success=success,
        last_failure=failure,
        last_error=stats.last_error,
        latency=stats.latency(),
        success_rate=_rate(stats.successes, stats.failures),
        requests=stats.requests,
        failures=stats.failures,
        throttled=stats.throttled,
        in_flight=state.in_flight,
        abandoned=state.workers.abandoned,
        requests_per_minute=stats.requests_per_minute(now),
        tokens=stats.tokens,
        spend=stats.spend,
        cooldown_remaining=max(0.0, state.ready_at - now),
        is_reference=state.is_reference,
    )


def _health(state: TargetState) -> Health:
    if state.disabled:
        return Health.DISABLED
    if state.is_checking:
        return Health.CHECKING
    if state.breaker.state is State.OPEN:
        return Health.UNHEALTHY
    if state.breaker.state is State.HALF_OPEN:
        return Health.CHECKING
    if not state.stats.requests and state.probed_at is None:
        return Health.UNKNOWN
    troubled = state.stats.failures_in_a_row or state.throttles_in_a_row
    return Health.DEGRADED if troubled else Health.HEALTHY


def _rate(good: int, bad: int) -> float | None:
    return good / (good + bad) if good + bad else None
