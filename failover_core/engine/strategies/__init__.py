"""Strategies: in which order a call considers the targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import cast

from failover_core.engine.ports import Dice
from failover_core.engine.strategies.base import Ordering, Strategy
from failover_core.engine.strategies.ordered import Cheapest, Fastest, Function, Priority, Sticky
from failover_core.engine.strategies.spreading import LeastLoaded, Random, RoundRobin, Weighted
from failover_core.errors import ConfigurationError
from failover_core.hints import did_you_mean

__all__ = ["Ordering", "Sticky", "Strategy", "register_strategy", "strategy_for"]

_STRATEGIES: dict[str, Callable[[Dice], Strategy]] = {
    "priority": lambda _: Priority(),
    "sticky": lambda _: Sticky(),
    "round_robin": RoundRobin,
    "weighted": Weighted,
    "least_loaded": LeastLoaded,
    "fastest": Fastest,
    "cheapest": lambda _: Cheapest(),
    "random": Random,
}


def register_strategy(name: str, factory: Callable[[Dice], Strategy]) -> None:
    """Give a strategy a name, under which every router and configuration knows it.

    Args:
        name: of the strategy.
        factory: makes a new one for each pool; it is given the pool's source of chance.

    Raises:
        ConfigurationError: the name is empty, or the factory cannot be called.
    """
    if not (str(name).strip() and callable(factory)):
        message = f"register_strategy: give a name and a factory, not {name!r} and {factory!r}"
        raise ConfigurationError(message)
    _STRATEGIES[name] = factory


def strategy_for(given: str | Strategy | Ordering, dice: Dice) -> Strategy:
    """Return the strategy of that name, object or function.

    Raises:
        ConfigurationError: there is none, or it is a class, or its factory made something else.
    """
    if isinstance(given, Strategy):
        return given
    if inspect.isclass(given) and issubclass(given, Strategy):
        message = f"strategy: {given.__name__} is a class; give an object of it"
        raise ConfigurationError(message)
    if callable(given):
        return Function(cast("Ordering", given))
    try:
        factory = _STRATEGIES[given]
    except (KeyError, TypeError):
        hint = did_you_mean(str(given), _STRATEGIES)
        message = f"strategy: there is no strategy {given!r}; {hint}"
        raise ConfigurationError(message) from None
    made = factory(dice)
    if not isinstance(made, Strategy):
        message = f"strategy: the factory of {given!r} made {made!r}; it must make a Strategy"
        raise ConfigurationError(message)
    return made
