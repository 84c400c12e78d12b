"""Objects of LlamaIndex that do nothing: what is left is the framework's time."""

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
from typing_extensions import override

NODES = [
    NodeWithScore(node=TextNode(text=f"node {number}"), score=1 - number / 100)
    for number in range(100)
]


class IdleLLM(CustomLLM):
    """An LLM that answers at once."""

    chunks: int = 20

    @property
    def metadata(self) -> LLMMetadata:
        """Say as little as an LLM must."""
        return LLMMetadata(model_name="idle")

    @llm_completion_callback()
    @override
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text="fine")

    @llm_completion_callback()
    @override
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        def pieces() -> CompletionResponseGen:
            text = ""
            for _ in range(self.chunks):
                text += "fine"
                yield CompletionResponse(text=text, delta="fine")

        return pieces()


class IdleRerank(BaseNodePostprocessor):
    """A postprocessor that knows the scores, and writes them into nodes of its own."""

    @override
    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return [NodeWithScore(node=one.node, score=one.score) for one in nodes]

    @override
    async def _apostprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return self._postprocess_nodes(nodes)


class IdleRetriever(BaseRetriever):
    """A retriever that finds the same nodes at once."""

    @override
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return NODES[:10]


class HearsEvents(BaseEventHandler):
    """Hears events, and does nothing."""

    @override
    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        """Do nothing."""


class HearsSpans(SimpleSpanHandler):
    """Hears spans, and forgets them."""

    @override
    def prepare_to_exit_span(self, *args: Any, **kwargs: Any) -> SimpleSpan:
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
