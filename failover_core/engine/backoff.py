"""How long to wait: before a second send, after a 429, and while a target is ejected."""

from __future__ import annotations

from failover_core.engine.ports import Dice
from failover_core.policy import BreakerPolicy, RetryPolicy

_BACKOFF_BASE = 0.05
_BACKOFF_CAP = 8.0
_THROTTLE_BASE = 1.0
_THROTTLE_CAP = 8.0
_RETRY_AFTER_JITTER = 0.1
_MAX_EXPONENT = 16


def retry_wait(policy: RetryPolicy, sends: int, error: BaseException, dice: Dice) -> float:
    """Return the seconds to wait before send number ``sends + 1`` to the same target.

    The policy's tenacity strategy gives the backoff; full jitter (AWS Architecture Blog,
    "Exponential Backoff and Jitter") is drawn here, from the engine's own random source.
    """
    # Here, for few programs ever wait, and it is slow to import.
    from tenacity import Future, RetryCallState, wait_exponential  # noqa: PLC0415

    wait = policy.wait or wait_exponential(multiplier=_BACKOFF_BASE, max=_BACKOFF_CAP)
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = sends
    outcome = Future(sends)
    outcome.set_exception(error)
    state.outcome = outcome
    backoff = max(0.0, wait(state))
    return dice.uniform(0.0, backoff) if policy.jitter else backoff


def throttle_time(retry_after: float | None, in_a_row: int, dice: Dice) -> float:
    """Return the cooldown in seconds of a target that has throttled ``in_a_row`` times.

    What the server asked for, and up to a tenth more so that clients do not return together;
    without a word from it, 1 s doubling to 8 s, half of it random.
    """
    if retry_after is not None:
        return retry_after * (1.0 + dice.uniform(0.0, _RETRY_AFTER_JITTER))
    return _half_jittered(_THROTTLE_BASE, _THROTTLE_CAP, in_a_row, dice)


def ejection_time(policy: BreakerPolicy, ejections: int, dice: Dice) -> float:
    """Return the cooldown in seconds of an ejection that is the ``ejections``-th of late."""
    return _half_jittered(policy.cooldown, policy.max_cooldown, ejections, dice)


def _half_jittered(base: float, cap: float, count: int, dice: Dice) -> float:
    # The exponent is capped too: 2.0 ** 1100 overflows long before min() could help.
    bound = min(cap, base * 2.0 ** min(count - 1, _MAX_EXPONENT))
    return bound / 2 + dice.uniform(0.0, bound / 2)
