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


def hands_on(method: F) -> F:
    """Mark a method that only hands a call on, so that LlamaIndex puts no span around it.

    The target's own method has one, and a call through a pool should have no more spans than the
    bare object, nor pay for them. A subclass that overrides the method gets its span as usual.
    """
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return method


def is_heard(dispatcher: Dispatcher) -> bool:
    """Return whether an event would reach any handler: to make one costs more than to ask."""
    while True:
        if any(type(handler) is not NullEventHandler for handler in dispatcher.event_handlers):
            return True
        if not dispatcher.propagate:
            return False
        dispatcher = dispatcher.parent
