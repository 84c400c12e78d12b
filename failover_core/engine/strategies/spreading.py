"""Strategies that spread calls over the targets.

Of a healthy call only the first target is drawn, so the first choice costs the same for three
targets as for a thousand. Whatever comes after it is drawn by chance: if it came in a fixed
order, the neighbour of a dead target would get all of its calls.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, count
from typing import TYPE_CHECKING

from failover_core.engine.ports import Dice
from failover_core.engine.strategies.base import Strategy

if TYPE_CHECKING:
    from failover_core.engine.target_state import TargetState

_PENALTY = 60.0
"""Seconds that a target without any answer is thought to take once something is under way."""


class Spreading(Strategy):
    """Base of the strategies that spread calls."""

    spreads = True

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def look(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        """Return the targets as they are: looking takes no turn and throws no dice."""
        return targets

    def _place(self, size: int) -> int:
        return min(size - 1, int(self._dice.uniform(0, size)))

    def _others(self, targets: Sequence[TargetState], first: int) -> Iterator[TargetState]:
        """Yield all targets but one by chance (the shuffle of Fisher and Yates, as it is drawn)."""
        left = [state for place, state in enumerate(targets) if place != first]
        while left:
            place = self._place(len(left))
            left[place], left[-1] = left[-1], left[place]
            yield left.pop()


class RoundRobin(Spreading):
    """Each target in turn."""

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self._turns = count()

    def order(self, targets: Sequence[TargetState], now: float) -> Iterator[TargetState]:  # noqa: ARG002
        """Yield the target whose turn it is, then the others by chance."""
        first = next(self._turns) % len(targets)
        yield targets[first]
        yield from self._others(targets, first)

    def order_again(self, targets: Sequence[TargetState], now: float) -> Iterator[TargetState]:  # noqa: ARG002
        """Yield the targets by chance: nobody's turn is used up."""
        yield from self._others(targets, -1)


class Random(Spreading):
    """Any target, by chance."""

    def order(self, targets: Sequence[TargetState], now: float) -> Iterator[TargetState]:  # noqa: ARG002
        """Yield the targets by chance."""
        first = self._place(len(targets))
        yield targets[first]
        yield from self._others(targets, first)


class Weighted(Spreading):
    """Any target, by chance and in proportion to its weight."""

    def __init__(self, dice: Dice) -> None:
        super().__init__(dice)
        self._targets: Sequence[TargetState] = ()
        self._sums: list[float] = []

    def order(self, targets: Sequence[TargetState], now: float) -> Iterator[TargetState]:  # noqa: ARG002
        """Yield the targets by chance, each in proportion to its weight."""
        if self._targets is not targets:  # weights do not change: they are added up once
            self._targets, self._sums = targets, _sums(targets)
        first = self._draw(self._sums)
        yield targets[first]
        left = [*targets[:first], *targets[first + 1 :]]
        while left:
            yield left.pop(self._draw(_sums(left)))

    def _draw(self, sums: Sequence[float]) -> int:
        return min(len(sums) - 1, bisect(sums, self._dice.uniform(0, sums[-1])))


def _sums(targets: Iterable[TargetState]) -> list[float]:
    return list(accumulate(state.target.weight for state in targets))


class LeastLoaded(Spreading):
    """Of two targets drawn by chance, the one with less to do (Finagle's peak-EWMA balancer).

    Two are enough (Mitzenmacher, "The Power of Two Choices"), and unlike the best of all, they
    do not send every call to one target at once.
    """

    def order(self, targets: Sequence[TargetState], now: float) -> Iterator[TargetState]:
        """Yield the better of two, then the better of two others, and so on."""
        size = len(targets)
        first = self._place(size)
        if size > 1:
            other = (first + 1 + self._place(size - 1)) % size
            if _load(targets[other], now) < _load(targets[first], now):
                first = other
        yield targets[first]
        left = list(self._others(targets, first))
        while left:
            better = min(left[-2:], key=lambda state: _load(state, now))
            left.remove(better)
            yield better


def _load(state: TargetState, now: float) -> float:
    cost = state.cost.at(now)
    if cost is None:
        # One call finds out how slow it is; a crowd must not find out together.
        return _PENALTY * state.in_flight
    return cost * (state.in_flight + 1)
