"""What a strategy is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from failover_core.engine.target_state import TargetState


class Strategy:
    """Orders the targets for each call; the base of users' own.

    Health is not its business: the engine passes over what is ejected, throttled or full. A
    strategy that needs no memory can be a plain function instead, which takes and returns
    targets. Everything here is called under the pool's lock: it must be quick, and must not
    block.

    Attributes:
        spreads: whether calls are spread over the targets, so that none is the active one.

    Example:
        >>> class ShortestQueue(Strategy):
        ...     spreads = True
        ...
        ...     def order(self, targets, now):
        ...         return sorted(targets, key=lambda state: state.in_flight)
        >>> router = Router(targets, strategy=ShortestQueue())
    """

    spreads: bool = False

    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:
        """Return the targets for a call that is about to be sent, most wanted first.

        It is read only as far as the call needs; a healthy one reads the first. Targets that it
        leaves out come last.

        Args:
            targets: all of the pool, in the order they were given.
            now: seconds of the router's clock.
        """
        raise NotImplementedError

    def order_again(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:
        """Return the order for a call that has been sent before; targets it tried are left out.

        A strategy that takes turns must not let the next in turn have all calls of a dead target.
        """
        return self.order(targets, now)

    def look(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:
        """Return the order of the next call without moving anything, for the status."""
        return self.order(targets, now)

    def served(self, target: TargetState, *, began: float, now: float) -> None:
        """Hear that an attempt which began at one instant has answered at another."""


Ordering = Callable[[Sequence["TargetState"]], Iterable["TargetState"]]
"""A strategy without memory: it takes the targets and returns them, most wanted first."""
