"""When a call is slow enough to be sent to another target as well."""

from __future__ import annotations

from failover_core.engine.budget import Budget
from failover_core.engine.samples import Samples, percentile
from failover_core.policy import HedgePolicy

_SIZE = 256
_FEWEST = 20
_STALE = 16
"""New latencies after which a percentile is taken anew: sorting at each call would cost more
than the rest of the engine."""


class Hedging:
    """The moment and the budget of the hedges of one pool.

    The percentile is that of the whole pool: a target that often stalls would hide its stalls in
    a percentile of its own. Answers and first contents of streams are kept apart.
    """

    __slots__ = ("_delays", "budget")

    def __init__(self, policy: HedgePolicy) -> None:
        self.budget = Budget(policy.budget)
        self._delays = (_Delay(policy.after), _Delay(policy.after))

    def after(self, *, streaming: bool) -> float | None:
        """Return the seconds after which an attempt is slow; None if nobody can say yet."""
        return self._delays[streaming].seconds

    def observe(self, latency: float, *, streaming: bool) -> None:
        """Take the latency of an attempt into account.

        That of a loser too, up to the moment it was given up: without them the percentile would
        fall with every hedge that wins, and each hedge would call for more.
        """
        self._delays[streaming].observe(latency)


class _Delay:
    __slots__ = ("_fresh", "_samples", "_share", "seconds")

    def __init__(self, after: float | str) -> None:
        is_percentile = isinstance(after, str)
        self._share = int(after[1:]) / 100 if isinstance(after, str) else None
        self._samples = Samples(_SIZE)
        self._fresh = 0
        self.seconds: float | None = None if is_percentile else float(after)

    def observe(self, latency: float) -> None:
        if self._share is None:
            return
        self._samples.add(latency)
        self._fresh += 1
        if self._fresh >= _STALE and len(self._samples) >= _FEWEST:
            self._fresh = 0
            self.seconds = percentile(self._samples.ordered(), self._share)
