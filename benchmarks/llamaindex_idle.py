"""Objects of LlamaIndex that do nothing: targets, and those that listen to what they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span import SimpleSpan
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

CHUNKS = 100
NODES = [
    NodeWithScore(node=TextNode(text=f"node {number}"), score=1 - number / 10)
    for number in range(10)
]


class IdleLLM(CustomLLM):
    """An LLM that answers at once."""

    @property
    def metadata(self) -> LLMMetadata:
        """Say as little as an LLM must."""
        return LLMMetadata(model_name="idle")

    @llm_completion_callback()
    def complete(
        self,
        prompt: str,  # noqa: ARG002 - the signature of LlamaIndex
        formatted: bool = False,  # noqa: ARG002, FBT001, FBT002 - as above
        **_: Any,
    ) -> CompletionResponse:
        """Answer at once."""
        return CompletionResponse(text="fine")

    @llm_completion_callback()
    def stream_complete(
        self,
        prompt: str,  # noqa: ARG002 - as above
        formatted: bool = False,  # noqa: ARG002, FBT001, FBT002 - as above
        **_: Any,
    ) -> CompletionResponseGen:
        """Answer at once, in pieces."""

        def chunks() -> CompletionResponseGen:
            text = ""
            for _ in range(CHUNKS):
                text += "fine"
                yield CompletionResponse(text=text, delta="fine")

        return chunks()


class IdleRerank(BaseNodePostprocessor):
    """A postprocessor that returns what it gets."""

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - as above
    ) -> list[NodeWithScore]:
        return nodes

    async def _apostprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - as above
    ) -> list[NodeWithScore]:
        return nodes


class IdleRetriever(BaseRetriever):
    """A retriever that finds the same nodes at once."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:  # noqa: ARG002 - as above
        return NODES


class HearsEvents(BaseEventHandler):
    """Hears events, and does nothing."""

    def handle(self, event: BaseEvent, **_: Any) -> None:
        """Do nothing."""


class HearsSpans(SimpleSpanHandler):
    """Hears spans, and forgets them."""

    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> SimpleSpan:
        """Take note of the end of a span."""
        span = super().prepare_to_exit_span(*args, **kwargs)
        self.completed_spans.clear()
        return span


@contextmanager
def listeners() -> Iterator[None]:
    """Listen to the spans and the events of LlamaIndex within a ``with`` block."""
    root, heard, spans = get_dispatcher(), HearsEvents(), HearsSpans()
    root.add_event_handler(heard)
    root.add_span_handler(spans)
    try:
        yield
    finally:
        root.event_handlers.remove(heard)
        root.span_handlers.remove(spans)
