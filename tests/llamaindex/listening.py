"""Hearing what LlamaIndex emits, through its dispatcher and through its callback manager."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks import CallbackManager, CBEventType
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from pydantic import Field


class Heard(BaseEventHandler):
    """The dispatcher's events, in order."""

    events: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Heard"

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.events.append(event)

    def counts(self, *kinds: str) -> dict[str, int]:
        """Return how often each kind of event was heard; without kinds, of all."""
        heard = Counter(event.class_name() for event in self.events)
        return {kind: heard[kind] for kind in kinds} if kinds else dict(heard)


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear the dispatcher's events within a ``with`` block."""
    heard = Heard()
    root = get_dispatcher()
    root.add_event_handler(heard)
    try:
        yield heard
    finally:
        root.event_handlers.remove(heard)


class Tally(BaseCallbackHandler):
    """Counts the starts and ends that reach a callback manager."""

    def __init__(self) -> None:
        super().__init__([], [])
        self.starts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def on_event_start(self, event_type: CBEventType, *_: Any, **__: Any) -> str:
        self.starts[event_type.value] += 1
        return ""

    def on_event_end(
        self,
        event_type: CBEventType,
        payload: dict[str, Any] | None = None,
        event_id: str = "",
        **_: Any,
    ) -> None:
        failed = "exception" in (payload or {})
        self.ends["failed" if failed else event_type.value] += 1

    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    def end_trace(self, *_: Any, **__: Any) -> None:
        pass


def tallied() -> tuple[Tally, CallbackManager]:
    """Return a tally and a manager that reports to it."""
    tally = Tally()
    return tally, CallbackManager([tally])
