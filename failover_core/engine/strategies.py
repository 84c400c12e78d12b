"""Strategies: in which order a call considers the targets."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from failover_core.errors import ConfigurationError

if TYPE_CHECKING:
    from failover_core.engine.pool import TargetState


class Strategy(Protocol):
    """Orders the targets for one call.

    It is called under the pool's lock: it must be quick and must not block. Health is not its
    business; the engine takes the first target of the order that is ready.
    """

    def __call__(self, targets: Sequence[TargetState], /) -> Sequence[TargetState]:
        """Return the targets, most wanted first."""


def priority(targets: Sequence[TargetState], /) -> Sequence[TargetState]:
    """Keep the order in which the targets were given."""
    return targets


_STRATEGIES: dict[str, Strategy] = {"priority": priority}


def strategy_named(name: str) -> Strategy:
    """Return the strategy of that name.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return _STRATEGIES[name]
    except (KeyError, TypeError):
        near = difflib.get_close_matches(str(name), _STRATEGIES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_STRATEGIES)}"
        message = f"strategy: there is no strategy {name!r}; {hint}"
        raise ConfigurationError(message) from None
