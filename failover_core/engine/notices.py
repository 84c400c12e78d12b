"""The events of a call, from its attempts to its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from failover_core.engine.attempt import Attempt, Failure
from failover_core.engine.pool import Pool
from failover_core.events import EventKind, FailoverEvent


def departure(
    pool: Pool, attempt: Attempt, failures: Sequence[Failure], call_id: str
) -> Iterator[FailoverEvent]:
    """Yield the events of an attempt's start: a probe, a move to another target."""
    name = attempt.target.name
    if attempt.is_probe:
        yield pool.event(EventKind.PROBING, target=name, call_id=call_id)
    if failures and failures[-1].attempt.state is not attempt.state:
        previous = failures[-1]
        yield pool.event(
            EventKind.FAILED_OVER,
            from_target=previous.attempt.target.name,
            to_target=name,
            reason=str(previous.error_class),
            error_class=previous.error_class,
            error=previous.found.summary,
            call_id=call_id,
        )


def failure(pool: Pool, failure: Failure, now: float, call_id: str) -> FailoverEvent:
    """Return the event of a failed attempt."""
    return pool.event(
        EventKind.of_failure(failure.error_class),
        target=failure.attempt.target.name,
        error_class=failure.error_class,
        error=failure.found.summary,
        latency=now - failure.attempt.started_at,
        call_id=call_id,
    )


def exhausted(pool: Pool, failures: Sequence[Failure], call_id: str) -> FailoverEvent:
    """Return the event of a call that no target could serve."""
    tried = [str(failure.attempt.target.name) for failure in failures]
    reason = f"tried: {', '.join(tried)}" if tried else "none was tried"
    return pool.event(EventKind.EXHAUSTED, reason=reason, call_id=call_id)


def degraded(pool: Pool, call_id: str) -> FailoverEvent:
    """Return the event of a substitute for the answer that no target gave."""
    reason = "no target could serve the call; a substitute was answered"
    return pool.event(EventKind.DEGRADED, reason=reason, call_id=call_id)
