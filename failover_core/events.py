"""What can happen in a pool, as records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from failover_core.errors import ErrorClass


class EventKind(StrEnum):
    """The kinds of events."""

    ATTEMPT_FAILED = "attempt_failed"
    FAILED_OVER = "failed_over"
    THROTTLED = "throttled"
    EJECTED = "ejected"
    PROBING = "probing"
    RECOVERED = "recovered"
    SWITCHED = "switched"
    HEDGED = "hedged"
    SPACE_MISMATCH = "space_mismatch"
    EXHAUSTED = "exhausted"
    DEGRADED = "degraded"

    @classmethod
    def of_failure(cls, error_class: ErrorClass) -> EventKind:
        """Return the kind of a failed attempt's event; some classes have one of their own."""
        own = (cls.THROTTLED, cls.SPACE_MISMATCH)
        return next((kind for kind in own if kind == str(error_class)), cls.ATTEMPT_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverEvent:
    """Something that happened to a target or a call.

    It never holds a prompt, a document, a vector or a provider's text.

    Attributes:
        time: Unix time in seconds.
        pool: name of the router's pool.
        kind: what happened.
        target: the target it happened to; None when it concerns the whole pool.
        from_target: for ``failed_over``, ``switched`` and ``hedged``, where calls went before.
        to_target: the same, where they go now.
        reason: one word or short sentence on why.
        error_class: class of the error behind it.
        error: type and status of that error.
        latency: seconds from the attempt's start.
        call_id: identifies the call within this process.
    """

    time: float
    pool: str
    kind: EventKind
    target: str | None = None
    from_target: str | None = None
    to_target: str | None = None
    reason: str | None = None
    error_class: ErrorClass | None = None
    error: str | None = None
    latency: float | None = None
    call_id: str | None = None

    def __str__(self) -> str:
        where = self.target or f"{self.from_target} -> {self.to_target}"
        if self.kind is EventKind.EXHAUSTED:
            where = "every target failed"
        elif self.kind is EventKind.DEGRADED:
            where = "answer"
        why = self.error or self.reason
        return f"pool {self.pool}: {self.kind} {where}" + (f" ({why})" if why else "")
