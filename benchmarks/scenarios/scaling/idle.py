"""A target that does nothing, so that all the time is the engine's."""

from __future__ import annotations

from typing import Any

from failover_core import Router, Target

POLICY: dict[str, Any] = {"attempt_timeout": 30, "total_timeout": 60, "retry": {"attempts": 3}}
STRATEGIES = ("priority", "round_robin", "weighted", "least_loaded", "fastest", "random")


class Idle:
    """A client that keeps to deadlines itself, as this library's HTTP clients do."""

    enforces_deadline = True

    def call(self) -> int:
        """Do nothing."""
        return 1

    async def acall(self) -> int:
        """Do nothing."""
        return 1


def pool(client: object, size: int, strategy: str = "priority") -> Router:
    """Return a router with a client as each of its targets."""
    targets = [Target(client, name=str(number)) for number in range(size)]
    return Router(targets, policy=POLICY, strategy=strategy)
