"""The same behaviour of a client through each of a router's four doors."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Protocol

from failover_core import AllTargetsFailedError, FailoverEvent, ResponseStatusError, Router, Target
from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call

Behave = Callable[[Any], Any]
"""What a client does when it is asked: it answers or raises."""

REFUSED = ConnectionRefusedError("refused")


def status(number: int, **details: Any) -> ResponseStatusError:
    return ResponseStatusError("told so", status_code=number, **details)


class Door(Protocol):
    def __call__(self, router: Router, behave: Behave, /, **options: Any) -> Any: ...


class Doors:
    """The doors by name; the async ones share one event loop until ``close``."""

    names = ("run", "arun", "stream", "astream")

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def named(self, name: str) -> Door:
        door: Door = getattr(self, name)
        return door

    def run(self, router: Router, behave: Behave, /, **options: Any) -> Any:
        return router.run(behave, **options)

    def arun(self, router: Router, behave: Behave, /, **options: Any) -> Any:
        async def send(client: Any) -> Any:
            return behave(client)

        return self._runner.run(router.arun(send, **options))

    def stream(self, router: Router, behave: Behave, /, **options: Any) -> Any:
        def send(client: Any) -> Iterator[Any]:
            yield behave(client)

        (answer,) = router.stream(send, **options)
        return answer

    def astream(self, router: Router, behave: Behave, /, **options: Any) -> Any:
        async def send(client: Any) -> AsyncIterator[Any]:
            yield behave(client)

        async def collect() -> list[Any]:
            return [chunk async for chunk in router.astream(send, **options)]

        (answer,) = self._runner.run(collect())
        return answer

    def close(self) -> None:
        self._runner.close()


def ask(client: Any) -> Any:
    """Behave as a ScriptedClient's script says."""
    return client.call()


def outcome(door: Door, router: Router, behave: Behave = ask) -> str:
    """Return the answer of a call, or its error in a few words."""
    try:
        return str(door(router, behave))
    except AllTargetsFailedError as error:
        return f"all failed: {error.error_class}"
    except Exception as error:  # noqa: BLE001 - the error is what is looked at
        return type(error).__name__


def begin(router: Router) -> tuple[Call, Attempt]:
    """Begin a call by hand; return it with its first attempt."""
    call = router.begin()
    attempt = call.next()
    assert isinstance(attempt, Attempt)
    return call, attempt


def line(event: FailoverEvent) -> str:
    """Return an event as one short line."""
    where = event.target or (event.to_target and f"{event.from_target}->{event.to_target}")
    return " ".join(str(part) for part in (event.kind, where, event.error_class) if part)


def trace(router: Router) -> list[str]:
    return [line(event) for event in router.events]


def named(*names: str) -> list[Target]:
    """Return targets whose clients are their own names."""
    return [Target(name, name=name) for name in names]


def fail_first(router: Router, times: int) -> None:
    """Let the first target fail in so many calls."""
    first = router.targets[0].client

    def behave(client: Any) -> str:
        if client is first:
            raise REFUSED
        return "served"

    for _ in range(times):
        with contextlib.suppress(AllTargetsFailedError):
            router.run(behave)
