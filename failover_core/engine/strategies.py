"""Strategies: in which order a call considers the targets."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from failover_core.engine.ports import Dice
from failover_core.errors import ConfigurationError

if TYPE_CHECKING:
    from failover_core.engine.target_state import TargetState


class Strategy:
    """Orders the targets for each call; the base of users' own.

    Its methods are called under the pool's lock: they must be quick and must not block.

    Attributes:
        spreads: whether calls are spread over the targets, so that none is the active one.
    """

    spreads: bool = False

    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:
        """Return the targets for a call that is about to be sent, most wanted first."""
        raise NotImplementedError

    def look(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:
        """Return what ``order`` would, without moving anything."""
        return self.order(targets, now)

    def served(self, target: TargetState, *, began: float, now: float) -> None:
        """Hear that an attempt which began at some instant answered now."""


Ordering = Callable[[Sequence["TargetState"]], Iterable["TargetState"]]


class _Priority(Strategy):
    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        return targets


class _Function(Strategy):
    def __init__(self, function: Ordering) -> None:
        self._function = function

    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:  # noqa: ARG002
        return self._function(targets)


_STRATEGIES: dict[str, Callable[[Dice], Strategy]] = {"priority": lambda _: _Priority()}


def strategy_for(given: str | Strategy | Ordering, dice: Dice) -> Strategy:
    """Return the strategy of that name, object or function.

    Raises:
        ConfigurationError: there is none.
    """
    if isinstance(given, Strategy):
        return given
    if callable(given):
        return _Function(given)
    try:
        return _STRATEGIES[given](dice)
    except (KeyError, TypeError):
        near = difflib.get_close_matches(str(given), _STRATEGIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_STRATEGIES)}"
        message = f"strategy: there is no strategy {given!r}; {hint}"
        raise ConfigurationError(message) from None
