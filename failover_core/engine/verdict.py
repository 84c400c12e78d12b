"""The error of a call that nobody could serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from failover_core.errors import (
    AllTargetsFailedError,
    ErrorClass,
    UnavailableError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from failover_core.engine.attempt import Failure
    from failover_core.engine.pool import Pool


def exhausted(
    pool: Pool, failures: Sequence[Failure], reason: str | None, *, is_unsupported: bool
) -> BaseException:
    """Return what to raise: the group of all errors, or the one that the policy asks for.

    Args:
        pool: whose call it was.
        failures: of all its attempts, in order.
        reason: why it ended before every target was tried, if so.
        is_unsupported: whether the reason is that no target has what the call needs.
    """
    errors = [failure.error for failure in failures if isinstance(failure.error, Exception)]
    if errors and pool.policy.on_exhausted != "group":
        return errors[0 if pool.policy.on_exhausted == "first" else -1]
    message = f"no target of pool {pool.name!r} could serve the call: "
    message += "; ".join([reason or "every target failed", *map(str, failures)])
    if disabled := [str(state.target.name) for state in pool.states if state.disabled]:
        message += f"; disabled, until router.enable(name): {', '.join(disabled)}"
    classes = {failure.error_class for failure in failures}
    if not errors and is_unsupported and reason:
        errors, classes = [UnsupportedError(reason)], {ErrorClass.UNSUPPORTED}
    elif not errors:
        errors = [UnavailableError("no target was tried")]
    return AllTargetsFailedError(
        message, errors, error_class=classes.pop() if len(classes) == 1 else None
    )
