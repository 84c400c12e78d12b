"""How the classes keep to one span and one pair of events where the bare object has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    DISPATCHER_SPAN_DECORATED_ATTR,
    Dispatcher,
)
from llama_index.core.instrumentation.event_handlers import NullEventHandler

F = TypeVar("F", bound=Callable[..., Any])


def traced_by_child(method: F) -> F:
    """Leave it to the target's object, as with events, to open the span of a call.

    A call through a pool has no more spans than one of the bare object, nor pays for them. A
    subclass that overrides the method gets its span as usual.
    """
    # LlamaIndex wraps what overrides a method with a span, unless it looks as if it had one.
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return method


def is_heard(dispatcher: Dispatcher) -> bool:
    """Return whether an event would reach any handler: to make one costs more than to ask."""
    while True:
        if any(not isinstance(handler, NullEventHandler) for handler in dispatcher.event_handlers):
            return True
        if not dispatcher.propagate:
            return False
        dispatcher = dispatcher.parent
