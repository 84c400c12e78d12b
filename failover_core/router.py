"""The facade that users hold: targets and a policy in, answers out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self, TypeVar, Unpack

from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, astream, run, stream
from failover_core.engine.needs import NOTHING, CallOptions, Needs
from failover_core.engine.pool import Pool
from failover_core.engine.ports import Clock, Dice
from failover_core.engine.status import PoolStatus, status_of
from failover_core.engine.strategies import Ordering, Strategy, strategy_for
from failover_core.engine.system import SystemClock, system_dice
from failover_core.event_log import EventLog
from failover_core.health.prober import Prober
from failover_core.policy import FailoverPolicy, ProbePolicy
from failover_core.resuming import TEXT, Resume
from failover_core.targets import Target, as_targets, check_fit

T = TypeVar("T")


class Router:
    """Carries calls out on the first target that can serve them.

    Example:
        >>> router = Router([primary, backup])
        >>> image = router.run(lambda client: client.images.generate(prompt="a lighthouse"))

    Args:
        targets: client objects, or ``Target(client, name=…, …)``, the preferred one first.
        policy: timeouts, retries, breaker; a FailoverPolicy or a dict of its settings.
        strategy: in which order targets are considered: ``"priority"``, ``"sticky"``,
            ``"round_robin"``, ``"weighted"``, ``"least_loaded"``, ``"fastest"``, ``"cheapest"``,
            ``"random"``, a ``Strategy``, or a function that takes and returns targets.
        name: of the pool, in events, errors and log lines.
        clock: time; a fake one makes tests exact.
        dice: chance; ``random.Random(seed)`` makes tests repeatable.

    Attributes:
        events: the newest 1,000 events; ``events.subscribe(function)`` hears of later ones.

    Raises:
        ConfigurationError: no targets, two of one name, an unknown strategy, a bad setting.
    """

    def __init__(
        self,
        targets: Iterable[Any],
        *,
        policy: FailoverPolicy | dict[str, Any] | None = None,
        strategy: str | Strategy | Ordering = "priority",
        name: str = "default",
        clock: Clock | None = None,
        dice: Dice | None = None,
    ) -> None:
        self.events = EventLog()
        self._strategy = strategy
        dice = dice or system_dice()
        named = as_targets(targets, pool=name)
        settings = FailoverPolicy.model_validate({} if policy is None else policy)
        check_fit(settings, named, pool=name)
        self._pool = Pool(
            named,
            policy=settings,
            strategy=strategy_for(strategy, dice),
            name=name,
            clock=clock or SystemClock(),
            dice=dice,
            publish=self.events.publish,
        )
        self._prober = Prober(self._pool, settings.probe or ProbePolicy())
        if settings.probe:
            self._prober.start()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy begins with targets and settings alone: health and counts are this process's.
        settings: dict[str, Any] = {
            "policy": self.policy,
            "strategy": self._strategy,
            "name": self.name,
        }
        return partial(type(self), **settings), (self.targets,)

    def __repr__(self) -> str:
        names = ", ".join(str(target.name) for target in self.targets)
        return f"Router({self.name!r}: {names})"

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

    # Calls

    def begin(self, **options: Unpack[CallOptions]) -> Call:
        """Begin a call by hand, for the drivers of ``failover_core.engine.drivers``.

        The framework classes use it to read ``call.report`` afterwards.

        Args:
            **options: of this call alone, here as at the four doors: ``tokens``, ``requires``,
                ``preferred_target``; see ``CallOptions``.

        Raises:
            ConfigurationError: an option cannot be used, or there is no such target.
        """
        return Call(self._pool, Needs.of(options) if options else NOTHING)

    def run(
        self,
        function: Callable[[Any], T],
        *,
        usage: Callable[[T], tuple[int, int] | None] | None = None,
        **options: Unpack[CallOptions],
    ) -> T:
        """Return ``function(client)`` of the first target that can serve it.

        Args:
            function: is given the client of a target.
            usage: returns the input and output tokens that an answer says it used, or None.
                They are charged to the target's ``tokens_per_minute`` and by its ``price``.
            **options: see ``begin``.

        Under a timeout, a client that cannot keep to one itself runs in a thread of its own
        (with the caller's context variables), which is abandoned when the time is over.

        Raises:
            AllTargetsFailedError: every target failed.
            Exception: the client's own error, when it is about the request (a 400, a refusal of
                its content) and another target would have to say the same.
        """
        call = self.begin(**options)
        answer = run(call, lambda attempt: function(attempt.client))
        if usage and (tokens := usage(answer)):
            call.used(*tokens)
        return answer

    async def arun(
        self,
        function: Callable[[Any], Awaitable[T]],
        *,
        usage: Callable[[T], tuple[int, int] | None] | None = None,
        **options: Unpack[CallOptions],
    ) -> T:
        """Return ``await function(client)`` of the first target that can serve it; see ``run``."""
        call = self.begin(**options)
        answer = await arun(call, lambda attempt: function(attempt.client))
        if usage and (tokens := usage(answer)):
            call.used(*tokens)
        return answer

    def stream(
        self,
        function: Callable[[Any], Iterable[T]],
        *,
        is_content: Callable[[T], bool] = lambda _: True,
        resume: Resume[T] = TEXT,
        **options: Unpack[CallOptions],
    ) -> Iterator[T]:
        """Yield from ``function(client)`` of the first target whose stream begins.

        Args:
            function: returns an iterable of chunks.
            is_content: whether a chunk is content. Chunks before the first content are held
                back, so that a target which fails until then costs nothing; after it, a break
                is raised, or resumed if the policy's ``on_broken_stream`` says so.
            resume: how a stream of such chunks is resumed. Default: chunks are strings, and the
                next target answers anew; a stream of other chunks is not resumed.
            **options: see ``begin``.

        Raises:
            AllTargetsFailedError: no stream began.
            Exception: the client's own error, when a stream broke after its first content and
                no other target could resume it.
        """
        call = self.begin(**options)
        return stream(call, lambda attempt: function(attempt.client), is_content, resume)

    def astream(
        self,
        function: Callable[[Any], AsyncIterable[T] | Awaitable[AsyncIterable[T]]],
        *,
        is_content: Callable[[T], bool] = lambda _: True,
        resume: Resume[T] = TEXT,
        **options: Unpack[CallOptions],
    ) -> AsyncIterator[T]:
        """Yield from an async stream; see ``stream``.

        Args:
            function: returns an async iterable of chunks, or an awaitable of one.
            is_content: as in ``stream``.
            resume: as in ``stream``; its ``prefill`` returns what ``function`` does.
            **options: see ``begin``.
        """
        call = self.begin(**options)
        return astream(call, lambda attempt: function(attempt.client), is_content, resume)

    # Looking

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

    # Steering

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
