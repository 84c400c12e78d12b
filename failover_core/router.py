"""The facade that users hold: targets and a policy in, answers out."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, TypeVar, Unpack

from failover_core.controls import Controls
from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, astream, run, stream
from failover_core.engine.needs import NOTHING, CallOptions, Needs
from failover_core.engine.pool import Pool
from failover_core.engine.ports import Clock, Dice
from failover_core.engine.strategies import Ordering, Strategy, strategy_for
from failover_core.engine.system import SystemClock, system_dice
from failover_core.event_log import EventLog
from failover_core.policy import FailoverPolicy
from failover_core.resuming import TEXT, Resume
from failover_core.targets import as_targets, check_fit

T = TypeVar("T")


class Router(Controls):
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
        events = EventLog()
        dice = dice or system_dice()
        named = as_targets(targets, pool=name)
        settings = FailoverPolicy.model_validate({} if policy is None else policy)
        check_fit(settings, named, pool=name)
        pool = Pool(
            named,
            policy=settings,
            strategy=strategy_for(strategy, dice),
            name=name,
            clock=clock or SystemClock(),
            dice=dice,
            publish=events.publish,
        )
        super().__init__(pool, events, strategy)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy begins with targets and settings alone: health and counts are this process's.
        settings: dict[str, Any] = {
            "policy": self.policy,
            "strategy": self._strategy,
            "name": self.name,
        }
        return _built, (type(self), self.targets, settings)

    def __repr__(self) -> str:
        names = ", ".join(str(target.name) for target in self.targets)
        return f"Router({self.name!r}: {names})"

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

        Under a timeout, a client that cannot keep to one itself runs in a thread of its own
        (with the caller's context variables), which is abandoned when the time is over.

        Args:
            function: is given the client of a target.
            usage: returns the input and output tokens that an answer says it used, or None.
                They are charged to the target's ``tokens_per_minute`` and by its ``price``.
            **options: see ``begin``.

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


def _built(kind: type[Router], targets: Sequence[Any], settings: dict[str, Any]) -> Router:
    # All of it in arguments: deepcopy copies those, and two pools never share a strategy.
    return kind(targets, **settings)
