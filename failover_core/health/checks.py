"""What a probe asks of a target."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from failover_core.engine.deadline import current_deadline
from failover_core.engine.target_state import TargetState
from failover_core.errors import UnavailableError
from failover_core.policy import ProbePolicy

Check = Callable[[Any], Any]


def _embed(client: Any) -> None:
    from failover_core.embedding.protocol import Kind  # noqa: PLC0415 - it brings numpy with it

    client.embed(["health"], Kind.QUERY)


_BILLED: dict[str, Check] = {
    "embed": _embed,
    "rerank": lambda client: client.rerank("health", ["health"], 1),
    "invoke": lambda client: client.invoke("Say ok."),
    "complete": lambda client: client.complete("Say ok."),
}
"""The smallest request of each kind of client, by the method that takes it."""


def check_for(state: TargetState, policy: ProbePolicy) -> Check | None:
    """Return what asks a target for its health; None if nothing may.

    That is the target's own ``probe``, the policy's ``check``, the free endpoint of a client
    that has one, or, if the policy allows it, the smallest request that is billed.
    """
    client = state.target.client
    if own := state.target.probe or policy.check:
        return own
    if free := getattr(client, "check_health", None):
        return lambda _: free()
    billed = (check for method, check in _BILLED.items() if hasattr(client, method))
    return next(billed, None) if policy.billed else None


def carry_out(check: Check, state: TargetState, seconds: float, deadline: float) -> None:
    """Ask a target; return if it is well.

    A client that keeps deadlines itself is trusted to; anything else runs in one of the target's
    worker threads, which is abandoned when the time is over.

    Args:
        check: what to ask; it may be a coroutine function.
        state: of the target.
        seconds: that it may take.
        deadline: the same as an instant of ``time.monotonic``.

    Raises:
        UnavailableError: the check said no.
        Exception: what the check raised.
    """

    def ask() -> Any:
        token = current_deadline.set(deadline)
        try:
            answer = check(state.target.client)
            return asyncio.run(_awaited(answer)) if inspect.isawaitable(answer) else answer
        finally:
            current_deadline.reset(token)

    if state.workers.call_within(ask, seconds) is False:
        message = "its health check said no"
        raise UnavailableError(message)


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer
