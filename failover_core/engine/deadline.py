"""Deadlines: absolute instants, and how the time left is shared out."""

from __future__ import annotations

from contextvars import ContextVar

MIN_TRY = 0.25
"""Seconds below which a share of the time left is not worth an attempt."""

UNLIMITED = float("inf")

current_deadline: ContextVar[float | None] = ContextVar("failover_deadline", default=None)
"""Instant (of ``time.monotonic``) at which the running attempt must end.

Set around each attempt at a client that has ``enforces_deadline = True``; such a client keeps
to it on its socket, so that no thread is needed to bound it.
"""


def share_of(left: float, targets_left: int, cap: float) -> float:
    """Return the seconds an attempt gets: an equal share, MIN_TRY at least, ``cap`` at most."""
    share = left / targets_left
    if share < MIN_TRY:
        share = min(MIN_TRY, left)
    return min(cap, share)
