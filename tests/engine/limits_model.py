"""The limits of a target, counted by other means than the engine's."""

from __future__ import annotations

from failover_core import Target

_DAY = 86_400.0
_HOUR = 3_600.0
_EPSILON = 1e-6


class TargetModel:
    """Says no to a send that exceeds a limit of its target.

    Args:
        target: whose limits they are.
        now: when nothing has been sent yet.
    """

    def __init__(self, target: Target, now: float) -> None:
        self._target = target
        self._sends: list[float] = []
        self._costs: list[tuple[float, float]] = []
        self._tokens_left = target.requests_per_minute or 0.0
        self._refilled_at = now

    def send(self, now: float, tokens: int) -> None:
        """Count a send, which must be within the limits."""
        target = self._target
        self._sends.append(now)
        if target.requests_per_day is not None:
            today = sum(sent > now - _DAY for sent in self._sends)
            assert today <= target.requests_per_day
        if target.requests_per_minute is not None:
            self._refill(now, target.requests_per_minute)
            assert self._tokens_left >= 1 - _EPSILON
            self._tokens_left -= 1
        if target.spend_limit is not None:
            assert self.spent(now) + tokens / 100 <= target.spend_limit + _EPSILON

    def use(self, now: float, tokens: int) -> None:
        """Count the tokens of an answer, each of which costs a hundredth."""
        if self._target.price:
            self._costs.append((now, tokens / 100))

    def spent(self, now: float) -> float:
        """Return what answers have cost in a day, less the hour that the engine may round up."""
        return sum(cost for at, cost in self._costs if at > now - _DAY + _HOUR)

    def _refill(self, now: float, limit: float) -> None:
        refilled = self._tokens_left + (now - self._refilled_at) * limit / 60
        self._tokens_left = min(limit, refilled)
        self._refilled_at = now
