"""Strategies with one target that calls go to, as long as it can serve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from failover_core.engine.ports import Dice
from failover_core.engine.strategies.base import Ordering, Strategy
from failover_core.errors import ConfigurationError

if TYPE_CHECKING:
    from failover_core.engine.target_state import TargetState

_EXPLORED = 20
"""One call in so many goes to another than the fastest target."""


class Priority(Strategy):
    """The order in which the targets were given."""

    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        """Return the targets as they are."""
        return targets


class Function(Strategy):
    """A function that orders the targets.

    Args:
        function: takes and returns the targets.
    """

    def __init__(self, function: Ordering) -> None:
        self._function = function

    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        """Return what the function returns."""
        return self._function(targets)


class Cheapest(Strategy):
    """The lowest price of an input and an output token together; without a price it is free."""

    def __init__(self) -> None:
        self._targets: Sequence[TargetState] = ()
        self._ranked: Sequence[TargetState] = ()

    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        """Return the targets by their price."""
        if self._targets is not targets:  # prices do not change: they are ranked once
            self._targets, self._ranked = targets, sorted(targets, key=_price)
        return self._ranked


def _price(state: TargetState) -> float:
    price = state.target.priced
    return price.input + price.output if price else 0.0


class Sticky(Strategy):
    """The target that served last; from a backup one step back at a time.

    After so many seconds or answers at a target that is not the first, the next call goes one
    place towards it; if that place cannot serve, the target that did so far is the next choice,
    and its time begins anew.

    Args:
        seconds: at a target, before a step back.
        successes: at a target, before a step back.

    Raises:
        ConfigurationError: one of them is not a number above zero.
    """

    def __init__(self, seconds: float = 600.0, successes: int = 50) -> None:
        given: dict[str, object] = {"seconds": seconds, "successes": successes}
        for name, value in given.items():
            if not (isinstance(value, int | float) and value > 0):
                message = f"Sticky: {name} is {value!r}; it must be a number above zero"
                raise ConfigurationError(message)
        self._seconds = seconds
        self._patience = successes
        self._place = 0
        self._since = 0.0
        self._successes = 0

    def __getstate__(self) -> dict[str, Any]:
        # Another process has another clock, and a copy of a router begins with settings alone.
        return {**self.__dict__, "_place": 0, "_since": 0.0}

    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:
        """Return the current target and the places after it, stepping back if it is time."""
        is_time = now - self._since >= self._seconds or self._successes >= self._patience
        if self._place > 0 and is_time:
            self._move(self._place - 1, now)
        return self.look(targets, now)

    def look(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        """Return the current target and the places after it."""
        return (*targets[self._place :], *targets[: self._place])

    def served(self, target: TargetState, *, began: float, now: float) -> None:
        """Stay at the target that answered, unless its attempt is older than the last move."""
        if target.slot == self._place:
            self._successes += 1
        elif began >= self._since:
            self._move(target.slot, now)
            self._successes = 1

    def _move(self, place: int, now: float) -> None:
        self._place, self._since, self._successes = place, now, 0


class Fastest(Strategy):
    """The target whose answers came quickest of late, by its peak EWMA.

    Targets without an answer come after those with one. One call in 20 goes to another target
    first, one without an answer if there is any: else the first to answer would keep all calls,
    and one that was slow for a moment would never get another chance.
    """

    def __init__(self, dice: Dice) -> None:
        self._dice = dice
        self._ranked: list[TargetState] = []
        self._unmeasured: list[TargetState] = []
        self._calls = 0
        self._stale_at = 0

    def order(self, targets: Sequence[TargetState], now: float) -> Iterator[TargetState]:  # noqa: ARG002
        """Yield the targets by their speed, or another one first."""
        self._calls += 1
        if self._calls >= self._stale_at:
            # Ranking costs a little for each target: with many it must not be done at each call.
            self._ranked = sorted(targets, key=_slowness)
            self._unmeasured = [state for state in self._ranked if state.cost.value is None]
            self._stale_at = self._calls + len(targets) // 10
        if self._calls % _EXPLORED == 0:
            yield from self._explored()
        yield from self._ranked

    def _explored(self) -> Iterator[TargetState]:
        # All of them, not the first alone: that one may be disabled, and would hide the others.
        yield from (state for state in self._unmeasured if state.cost.value is None)
        if others := len(self._ranked) - 1:
            yield self._ranked[1 + min(others - 1, int(self._dice.uniform(0, others)))]

    def look(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        """Return the targets by their speed."""
        return sorted(targets, key=_slowness)


def _slowness(state: TargetState) -> float:
    return float("inf") if state.cost.value is None else state.cost.value
