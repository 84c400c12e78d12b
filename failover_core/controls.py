"""Looking at a pool, steering it, and closing it: what a router can do besides calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from failover_core.engine.pool import Pool
from failover_core.engine.status import PoolStatus, status_of
from failover_core.engine.strategies import Ordering, Strategy, strategy_for
from failover_core.event_log import EventLog
from failover_core.health.prober import Prober
from failover_core.policy import FailoverPolicy, ProbePolicy
from failover_core.targets import Target


class Controls:
    """The controls of a router.

    Args:
        pool: its targets and their state.
        events: its log.
        strategy: as it was given.
    """

    def __init__(self, pool: Pool, events: EventLog, strategy: str | Strategy | Ordering) -> None:
        self.events = events
        self._pool = pool
        self._strategy = strategy
        self._prober = Prober(pool, pool.policy.probe or ProbePolicy())
        if pool.policy.probe:
            self._prober.start()

    @property
    def name(self) -> str:
        """Name of the pool."""
        return self._pool.name

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets, in the order they were given, each with its name."""
        return tuple(state.target for state in self._pool.states)

    @property
    def policy(self) -> FailoverPolicy:
        """The policy of every call."""
        return self._pool.policy

    def status(self) -> PoolStatus:
        """Return what is known of the pool and its targets; sends nothing, moves nothing."""
        return status_of(self._pool)

    def probe(self, name: str | None = None) -> dict[str, bool]:
        """Ask a target, or all of them, for their health; return which are well, by name.

        This is an active probe (see ``ProbePolicy``), sent now: a call to a target that is well
        again is tried at once. Left out are disabled targets, and those that nothing but a
        billed request could ask.

        Args:
            name: of the target; None for all.

        Raises:
            ConfigurationError: there is no such target.
        """
        states = self._pool.states if name is None else (self._pool.state_of(name),)
        return self._prober.probe(states)

    async def aprobe(self, name: str | None = None) -> dict[str, bool]:
        """Return what ``probe`` returns, without blocking the loop."""
        return await asyncio.to_thread(self.probe, name)

    def switch(self, name: str) -> None:
        """Make a target the first choice, until another switch or ``reset()``."""
        state = self._pool.state_of(name)
        with self._steering("manual"):
            self._pool.preferred = state

    def enable(self, name: str) -> None:
        """Let calls go to a disabled target again."""
        state = self._pool.state_of(name)
        with self._steering("enabled"):
            state.disabled = False

    def disable(self, name: str) -> None:
        """Send no further calls to a target, not even as a last resort."""
        state = self._pool.state_of(name)
        with self._steering("disabled"):
            state.disabled = True

    def set_strategy(self, strategy: str | Strategy | Ordering) -> None:
        """Order the targets of all later calls by another strategy.

        Raises:
            ConfigurationError: there is no such strategy.
        """
        chosen = strategy_for(strategy, self._pool.dice)
        with self._steering("strategy"):
            self._pool.strategy, self._strategy = chosen, strategy

    def reset(self) -> None:
        """Forget health, counts and a manual switch; calls in flight go on, disabled stays so."""
        pool = self._pool
        with pool.lock:
            pool.reset_locked(pool.clock.now())

    def close(self) -> None:
        """Stop active probes, close the targets' HTTP clients, and deliver the last events.

        Only clients of this library are closed; they connect anew when they are used again.
        """
        self._prober.close()
        for client in self._own_clients():
            client.close()
        self.events.close()

    async def aclose(self) -> None:
        """Close as ``close`` does, and the running loop's connections too."""
        self._prober.close()
        for client in self._own_clients():
            await client.aclose()
        await asyncio.to_thread(self.events.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _own_clients(self) -> list[Any]:
        clients = (target.client for target in self.targets)
        return [client for client in clients if hasattr(client, "default_attempt_timeout")]

    @contextmanager
    def _steering(self, reason: str) -> Iterator[None]:
        """Hold the lock for a change; tell of it if calls now start at another target."""
        pool = self._pool
        with pool.lock:
            now = pool.clock.now()
            before = pool.active_locked(now)
            yield
            events = pool.switches_locked(before, now, reason)
        for event in events:
            pool.publish(event)
