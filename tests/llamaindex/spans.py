"""Hearing the spans of LlamaIndex's dispatcher."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.span import BaseSpan
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from pydantic import Field


class Spans(BaseSpanHandler[BaseSpan]):
    """The spans, in the order in which they begin: ``Class.method``, parents and how they end."""

    entered: list[str] = Field(default_factory=list)
    parents: dict[str, str | None] = Field(default_factory=dict)
    dropped: list[str] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Spans"

    def new_span(
        self,
        id_: str,
        bound_args: inspect.BoundArguments,
        instance: Any | None = None,
        parent_span_id: str | None = None,
        tags: dict[str, Any] | None = None,
        **_: Any,
    ) -> BaseSpan:
        self.entered.append(name_of(id_))
        self.parents[name_of(id_)] = parent_span_id and name_of(parent_span_id)
        return BaseSpan(id_=id_, parent_id=parent_span_id)

    def prepare_to_exit_span(self, id_: str, *_: Any, **__: Any) -> BaseSpan | None:
        return self.open_spans[id_]

    def prepare_to_drop_span(self, id_: str, *_: Any, **__: Any) -> BaseSpan | None:
        self.dropped.append(name_of(id_))
        return self.open_spans[id_]

    @property
    def methods(self) -> list[str]:
        """The names of the methods alone."""
        return [name.rpartition(".")[2] for name in self.entered]


def name_of(span_id: str) -> str:
    """Return the class and the method that a span is about."""
    return span_id.partition("-")[0]


@contextmanager
def tracing() -> Iterator[Spans]:
    """Hear the dispatcher's spans within a ``with`` block, all of which must end in it."""
    spans = Spans()
    root = get_dispatcher()
    root.add_span_handler(spans)
    try:
        yield spans
    finally:
        root.span_handlers.remove(spans)
    assert not spans.open_spans
