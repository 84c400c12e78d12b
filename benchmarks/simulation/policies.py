"""What clients may be equipped with: a router of ours under any policy, or a peer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.simulation.clients import Caller
from benchmarks.simulation.loop import Loop
from benchmarks.simulation.peers import Cooldowns, Plain
from benchmarks.simulation.servers import Server
from failover_core import FailoverPolicy, Router, Target

_SENDS = 3
_ORDERED = ("priority", "sticky")


@dataclass(frozen=True, slots=True)
class World:
    """What a caller is built on.

    Attributes:
        servers: the targets, in the order of their priority.
        loop: time.
        dice: chance of all clients.
        attempt_timeout: of every attempt, in seconds.
    """

    servers: Sequence[Server]
    loop: Loop
    dice: random.Random
    attempt_timeout: float


@dataclass(frozen=True, slots=True)
class Policy:
    """What clients are equipped with.

    Attributes:
        name: in tables.
        equip: returns what makes the caller of one client after the other.
        spreads: whether calls are spread evenly over the servers that are well.
        is_ours: whether it is one of this library.
    """

    name: str
    equip: Callable[[World], Callable[[], Caller]]
    spreads: bool = False
    is_ours: bool = False


def ours(name: str, strategy: str = "priority", **settings: Any) -> Policy:
    """Return a policy of this library.

    Args:
        name: in the tables.
        strategy: of the router.
        **settings: of FailoverPolicy, and ``max_concurrency``, that of each target.
    """
    most = settings.pop("max_concurrency", None)

    def equip(world: World) -> Callable[[], Caller]:
        given = {"attempt_timeout": world.attempt_timeout, **settings}
        policy = FailoverPolicy.model_validate(given)
        targets = tuple(
            Target(server, name=server.name, max_concurrency=most) for server in world.servers
        )
        return lambda: Router(
            targets, policy=policy, strategy=strategy, clock=world.loop, dice=world.dice
        )

    return Policy(name, equip, spreads=strategy not in _ORDERED, is_ours=True)


def _plain(sends: int, most: int | None = None) -> Callable[[World], Callable[[], Caller]]:
    def equip(world: World) -> Callable[[], Caller]:
        return lambda: Plain(world.servers[:most], world.attempt_timeout, sends, world.dice)

    return equip


def _spread_plain(sends: int) -> Callable[[World], Callable[[], Caller]]:
    """Give each client an order that begins elsewhere: nobody would send them all to one."""

    def equip(world: World) -> Callable[[], Caller]:
        starts = itertools.cycle(range(len(world.servers)))

        def caller() -> Caller:
            start = next(starts)
            order = [*world.servers[start:], *world.servers[:start]]
            return Plain(order, world.attempt_timeout, sends, world.dice)

        return caller

    return equip


def _cooldowns(world: World) -> Callable[[], Caller]:
    return lambda: Cooldowns(world.servers, world.attempt_timeout, world.loop, world.dice)


SINGLE = Policy("one target", _plain(1, 1))
FALLBACKS = Policy("with_fallbacks", _plain(1))
RETRIES = Policy("3 sends, then the next", _plain(_SENDS))
SPREAD_FALLBACKS = Policy(FALLBACKS.name, _spread_plain(1), spreads=True)
SPREAD_RETRIES = Policy(RETRIES.name, _spread_plain(_SENDS), spreads=True)
COOLDOWNS = Policy("shuffle + cooldown", _cooldowns, spreads=True)

PEERS = (SINGLE, FALLBACKS, RETRIES, COOLDOWNS)
