"""What the LLMs that are asked for an object say of their answers, which are not handed out.

LlamaIndex's events carry them. One handler at the root of its dispatchers takes note of those that
belong to an attempt of ours, and of no others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TypeVar

from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import NullEventHandler
from llama_index.core.instrumentation.events import BaseEvent

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from llamaindex_failover.streaming import is_finish, tells_usage

T = TypeVar("T")


class Heard:
    """What was heard of the answers of one attempt.

    Attributes:
        is_heard: whether there was any.
        is_finished: whether one gave the reason for its end, as OpenAI's protocol does.
    """

    __slots__ = ("_tokens", "is_finished", "is_heard")

    def __init__(self) -> None:
        self.is_finished = self.is_heard = False
        self._tokens: dict[str | None, tuple[int, int]] = {}

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens of the input and of the output, of all answers."""
        counts = self._tokens.values()
        return sum(count for count, _ in counts), sum(count for _, count in counts)

    def note(self, event: BaseEvent) -> None:
        """Note the answer that an event carries, or the latest piece of it."""
        response: Any = getattr(event, "response", None)
        if response is None or response.raw is None:
            return
        self.is_heard = True
        self.is_finished = self.is_finished or is_finish(response)
        if tells_usage(response.raw):
            self._tokens[event.span_id] = get_tokens_from_response(response)


_HEARING: ContextVar[Heard | None] = ContextVar("hearing", default=None)


class _Ear(NullEventHandler):
    """Hears for attempts; for all others it is the handler that does nothing."""

    def handle(self, event: BaseEvent, **_: Any) -> None:
        if (heard := _HEARING.get()) is not None:
            with suppress(AttributeError, TypeError, ValueError):  # a raw answer may be anything
                heard.note(event)


_EAR = _Ear()


@contextmanager
def hearing(heard: Heard) -> Iterator[None]:
    """Note in ``heard`` what is said within a ``with`` block."""
    root = get_dispatcher()
    if not any(handler is _EAR for handler in root.event_handlers):
        root.add_event_handler(_EAR)
    token = _HEARING.set(heard)
    try:
        yield
    finally:
        _HEARING.reset(token)


@contextmanager
def charging(call: Call, attempt: Attempt) -> Iterator[Heard]:
    """Charge the target of an attempt for what is heard of its answer, be it of use or not."""
    heard = Heard()
    try:
        yield heard
    finally:
        if any(heard.tokens):
            call.used(*heard.tokens, by=attempt)


def overheard(items: Iterator[T], heard: Heard) -> Iterator[T]:
    """Yield items, and note what is said while each of them is made."""
    while True:
        with hearing(heard):  # never across a yield: what its reader does is not ours to hear
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


async def aoverheard(items: AsyncIterator[T], heard: Heard) -> AsyncIterator[T]:
    """Do what ``overheard`` does."""
    while True:
        with hearing(heard):
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return
        yield item
