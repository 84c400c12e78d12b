"""What a target's limits leave room for: requests, tokens and money."""

from __future__ import annotations

from collections.abc import Sequence

from failover_core.engine.deadline import UNLIMITED
from failover_core.engine.window import Window
from failover_core.targets import Target

_MINUTE = 60.0
_DAY = 86_400.0
_HOURS = 24

_ROUNDING = 1e-9
_SMALLEST = 1e-12
"""What a send costs at least: nothing may pass once a limit has been reached."""


class Rate:
    """So many a minute, as many of them at once: GCRA, the leaky bucket of ITU-T I.371.

    Args:
        limit: per minute.
    """

    __slots__ = ("_full_at", "_interval", "_limit")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._interval = _MINUTE / limit
        self._full_at = -UNLIMITED
        """Instant at which the whole limit is free again ("theoretical arrival time")."""

    def room_at(self, _: float, cost: float) -> float:
        """Return the instant from which ``cost`` may pass.

        What is larger than the whole limit passes when all of it is free; else it would wait for
        ever.
        """
        if cost > self._limit:  # noqa: PLR1730 - the hot path: min() takes twice as long
            cost = self._limit
        return self._full_at + self._interval * cost - _MINUTE - _ROUNDING

    def take(self, now: float, cost: float) -> None:
        """Let ``cost`` pass. A negative one gives back what was taken too much."""
        begin = max(now, self._full_at)
        self._full_at = begin + self._interval * cost


class Daily:
    """So much in any 24 hours: a rolling sum, by the hour.

    No midnight: it needs no time zone, and a wall clock that jumps moves nothing.
    """

    __slots__ = ("_limit", "_window")

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._window = Window(_DAY, _HOURS)

    def room_at(self, now: float, cost: float) -> float:
        """Return the instant from which ``cost`` more does not exceed the limit."""
        if self._window.sum + cost <= self._limit:  # with time it only gets less
            return now
        excess = self._window.total(now) + cost - self._limit
        return now if excess <= 0 else self._window.less_at(now, excess)

    def take(self, now: float, cost: float) -> None:
        """Count ``cost``."""
        self._window.add(now, cost)

    def take_back(self, now: float, cost: float, since: float) -> None:
        """Uncount a cost that was counted at an instant, unless it has been forgotten."""
        self._window.remove(now, cost, since)


class Limits:
    """All limits of one target, with its pool's limit of money if the target costs any.

    A send is let through, and charged, by the tokens that it is expected to use; ``settle``
    then corrects that by those it did use.

    Args:
        target: whose limits they are.
        pool_spend: what is left for the whole pool; None without a limit.
    """

    __slots__ = ("_price", "_requests", "_spends", "_tokens")

    def __init__(self, target: Target, pool_spend: Daily | None) -> None:
        requests, tokens = target.requests_per_minute, target.tokens_per_minute
        a_day, spend = target.requests_per_day, target.spend_limit
        self._price = target.priced
        self._tokens = () if tokens is None else (Rate(tokens),)
        self._requests: tuple[Rate | Daily, ...] = () if requests is None else (Rate(requests),)
        if a_day is not None:
            self._requests += (Daily(a_day),)
        self._spends: tuple[Daily, ...] = () if spend is None else (Daily(spend),)
        if pool_spend and self._price:
            self._spends += (pool_spend,)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._requests or self._tokens or self._spends)

    def room_at(self, now: float, tokens: int) -> float:
        """Return the instant from which a send of so many tokens exceeds nothing."""
        latest = now
        for limits, cost in self._charges(tokens):
            for limit in limits:
                instant = limit.room_at(now, cost)
                if instant > latest:  # noqa: PLR1730 - as above
                    latest = instant
        return latest

    def take(self, now: float, tokens: int) -> None:
        """Charge a send that is about to use so many tokens."""
        for limit in self._requests:
            limit.take(now, 1)
        if tokens:
            for rate in self._tokens:
                rate.take(now, tokens)
            for spend in self._spends:
                spend.take(now, self._cost_of(tokens))

    def settle(self, now: float, began: float, expected: int, used: int, cost: float) -> None:
        """Charge what an attempt used and cost, instead of what it was charged when it began."""
        for rate in self._tokens:
            rate.take(now, used - expected)
        for spend in self._spends:
            spend.take_back(now, self._cost_of(expected), began)
            spend.take(now, cost)

    def _charges(self, tokens: int) -> tuple[tuple[Sequence[Rate | Daily], float], ...]:
        cost = self._cost_of(tokens) or _SMALLEST
        return (self._requests, 1), (self._tokens, tokens), (self._spends, cost)

    def _cost_of(self, tokens: int) -> float:
        return self._price.of(tokens, 0) if self._price else 0.0
