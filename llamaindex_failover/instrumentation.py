"""How the classes keep to one span and one pair of events where the bare object has one."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    DISPATCHER_SPAN_DECORATED_ATTR,
    Dispatcher,
)
from llama_index.core.instrumentation.event_handlers import NullEventHandler
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.instrumentation.span_handlers import NullSpanHandler

F = TypeVar("F", bound=Callable[..., Any])

_DEAF = (NullEventHandler, NullSpanHandler)

_numbers = itertools.count(1)


def traced_by_child(method: F) -> F:
    """Leave it to the target's object, as with events, to open the span of a call.

    A call through a pool has no more spans than one of the bare object, nor pays for them. A
    subclass that overrides the method gets its span as usual.
    """
    # LlamaIndex wraps what overrides a method with a span, unless it looks as if it had one.
    setattr(method, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return method


def is_heard(dispatcher: Dispatcher) -> bool:
    """Return whether a span or an event would reach any handler: to make one costs more."""
    while True:
        for handler in (*dispatcher.event_handlers, *dispatcher.span_handlers):
            if not isinstance(handler, _DEAF):
                return True
        if not dispatcher.propagate:
            return False
        dispatcher = dispatcher.parent


def traced(method: F) -> F:
    """Return a method of a target's object, without its span if that would reach no handler.

    LlamaIndex takes longer over such a span than a pool over a call. What is left of it is an
    id, for events of the method that are heard elsewhere.
    """
    dispatcher = _dispatcher_of(method)
    if dispatcher is None or is_heard(dispatcher):
        return method
    bare = method.__wrapped__  # type: ignore[attr-defined]
    under_id = _aunder_id if inspect.iscoroutinefunction(bare) else _under_id
    return cast("F", partial(under_id, bare))


def _dispatcher_of(method: Any) -> Dispatcher | None:
    """Return what a method's span goes to; None if it has none, or is wrapped into more."""
    wrapper: Any = getattr(method, "_self_wrapper", None)  # of wrapt, with which spans are made
    if getattr(wrapper, "__module__", None) != Dispatcher.__module__:
        return None
    contents = (cell.cell_contents for cell in wrapper.__closure__ or ())
    return next((one for one in contents if isinstance(one, Dispatcher)), None)


def _under_id(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    token = active_span_id.set(_id_for(method))
    try:
        return method(*args, **kwargs)
    finally:
        active_span_id.reset(token)


async def _aunder_id(method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    token = active_span_id.set(_id_for(method))
    try:
        return await method(*args, **kwargs)
    finally:
        active_span_id.reset(token)


def _id_for(method: Callable[..., Any]) -> str:
    return f"{method.__qualname__}-{next(_numbers)}"
