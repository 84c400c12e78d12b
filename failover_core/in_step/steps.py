"""Methods of stores to be called one after another, for sync and async callers alike."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Step:
    """A method to be called, which has an async form with an ``a`` before its name."""

    def __init__(self, owner: Any, method: str, *args: Any, **kwargs: Any) -> None:
        self._owner, self._method, self._args, self._kwargs = owner, method, args, kwargs

    def take(self) -> Any:
        """Return what the method returns."""
        return getattr(self._owner, self._method)(*self._args, **self._kwargs)

    async def atake(self) -> Any:
        """Return what its async form returns."""
        return await getattr(self._owner, f"a{self._method}")(*self._args, **self._kwargs)


Steps = Generator[Step, Any, T]
"""Steps that are sent, or thrown, what came of them, for sync and async callers alike."""


def walk(steps: Steps[T]) -> T:
    """Take steps, and return what they come to."""
    try:
        step = next(steps)
        while True:
            try:
                answer = step.take()
            except Exception as error:  # noqa: BLE001 - the steps know what to make of it
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


async def awalk(steps: Steps[T]) -> T:
    """Return what ``walk`` returns."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await step.atake()
            except Exception as error:  # noqa: BLE001 - as above
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
