"""A client object that answers from a script: a target for routers under test."""

from __future__ import annotations

import inspect
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_NOTHING = object()


@dataclass(frozen=True, slots=True)
class ScriptedCall:
    """One call of a client: the method's name and its arguments."""

    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class ScriptedClient:
    """A client whose every call plays the next item of its script. Thread-safe.

    An item is an exception, which is raised; a callable, which is called with the call's
    arguments (and awaited by ``acall`` and ``astream`` if it is a coroutine function); or
    anything else, which is the result. A stream's result is an iterable of chunks, in which an
    exception is raised when its turn comes.

    Args:
        name: the client's name.
        script: the items.
        default: the item that is played when the script is at its end; without one, a call
            then raises AssertionError.

    Attributes:
        calls: every call so far, in order.
    """

    def __init__(self, name: str, script: Iterable[Any] = (), *, default: Any = _NOTHING) -> None:
        self.name = name
        self.calls: list[ScriptedCall] = []
        self._script = deque(script)
        self._default = default
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"ScriptedClient({self.name!r})"

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Play the next item."""
        return self._play("call", args, kwargs)

    async def acall(self, *args: Any, **kwargs: Any) -> Any:
        """Play the next item."""
        result = self._play("acall", args, kwargs)
        return await result if inspect.isawaitable(result) else result

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Play the next item, when the first chunk is asked for."""
        yield from _raising(self._play("stream", args, kwargs))

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Play the next item, when the first chunk is asked for."""
        result = self._play("astream", args, kwargs)
        for chunk in _raising(await result if inspect.isawaitable(result) else result):
            yield chunk

    def _play(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with self._lock:
            self.calls.append(ScriptedCall(method, args, kwargs))
            item = self._script.popleft() if self._script else self._default
        if item is _NOTHING:
            message = f"the script of {self.name!r} is at its end, and it has no default"
            raise AssertionError(message)
        return _value(item, args, kwargs)


def _value(item: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if isinstance(item, BaseException):
        raise item
    return item(*args, **kwargs) if callable(item) else item


def _raising(chunks: Iterable[Any]) -> Iterator[Any]:
    for chunk in chunks:
        if isinstance(chunk, BaseException):
            raise chunk
        yield chunk
