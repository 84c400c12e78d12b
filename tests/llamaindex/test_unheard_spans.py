"""A span that would reach no handler is not made, and nobody can tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.base.llms.types import ChatResponse as Response
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    Dispatcher,
)
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.llms import callbacks
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.mock import MockLLM

from llamaindex_failover import FailoverLLM, FailoverRetriever
from tests.llamaindex.listening import Heard
from tests.llamaindex.spans import Spans, tracing
from tests.llamaindex.test_instrumentation import Finds

HELLO = [ChatMessage("hello")]

Door = Callable[[Any], Awaitable[object]]


class Here(MockLLM):
    """An LLM whose methods have spans of this module."""

    is_away: bool = False

    def __init__(self, *, is_away: bool = False) -> None:
        super().__init__(is_chat_model=True)
        self.is_away = is_away

    @llm_chat_callback()
    def chat(self, messages: Any, **_: Any) -> Response:
        if self.is_away:
            raise ConnectionError
        return Response(message=ChatMessage("hi", role="assistant"))

    @llm_chat_callback()
    async def achat(self, messages: Any, **_: Any) -> Response:
        return Response(message=ChatMessage("hi", role="assistant"))

    @llm_chat_callback()
    def stream_chat(self, messages: Any, **_: Any) -> Iterator[Response]:
        def chunks() -> Iterator[Response]:
            yield self.chat(messages)

        return chunks()

    @llm_chat_callback()
    async def astream_chat(self, messages: Any, **_: Any) -> AsyncIterator[Response]:
        async def chunks() -> AsyncIterator[Response]:
            yield self.chat(messages)

        return chunks()


async def _chat(pool: FailoverLLM) -> None:
    pool.chat(HELLO)


async def _achat(pool: FailoverLLM) -> None:
    await pool.achat(HELLO)


async def _stream_chat(pool: FailoverLLM) -> None:
    list(pool.stream_chat(HELLO))


async def _astream_chat(pool: FailoverLLM) -> None:
    async for _ in await pool.astream_chat(HELLO):
        pass


@pytest.fixture(params=[_chat, _achat, _stream_chat, _astream_chat])
def door(request: pytest.FixtureRequest) -> Door:
    door: Door = request.param
    return door


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The spans that dispatchers begin, whoever hears of them."""
    begun: list[str] = []
    begin = Dispatcher.span_enter

    def note(self: Dispatcher, id_: str, *args: Any, **kwargs: Any) -> None:
        begun.append(id_.partition("-")[0])
        begin(self, id_, *args, **kwargs)

    monkeypatch.setattr(Dispatcher, "span_enter", note)
    return begun


@contextmanager
def hearing_at(module: str) -> Iterator[tuple[Heard, Spans]]:
    """Hear the events and the spans of one module alone."""
    heard, spans, dispatcher = Heard(), Spans(), get_dispatcher(module)
    dispatcher.add_event_handler(heard)
    dispatcher.add_span_handler(spans)
    try:
        yield heard, spans
    finally:
        dispatcher.event_handlers.remove(heard)
        dispatcher.span_handlers.remove(spans)


async def test_the_outer_span_of_a_target_is_made_only_for_listeners(
    door: Door, begun: list[str]
) -> None:
    pool = FailoverLLM(targets=[Here()])
    outer = f"Here.{door.__name__[1:]}"

    await door(pool)
    assert outer not in begun

    with tracing() as spans:
        await door(pool)
    assert spans.entered[0] == outer

    begun.clear()
    await door(pool)
    assert outer not in begun


async def test_a_listener_of_the_targets_module_alone_hears_its_spans(door: Door) -> None:
    pool = FailoverLLM(targets=[Here()])

    with hearing_at(__name__) as (_, spans):
        await door(pool)

    assert spans.entered[0] == f"Here.{door.__name__[1:]}"
    assert not spans.open_spans


async def test_a_listener_elsewhere_can_tell_calls_apart_by_their_spans(door: Door) -> None:
    pool = FailoverLLM(targets=[Here()])

    with hearing_at(callbacks.__name__) as (heard, _):
        await door(pool)
        await door(pool)

    ids: list[Any] = [event.span_id for event in heard.events]
    first, second = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    assert all(ids)
    assert first[0] == first[-1]
    assert not set(first) & set(second)
    assert active_span_id.get() is None


def test_a_failure_leaves_no_span_behind_when_nobody_listens() -> None:
    pool = FailoverLLM(targets=[Here(is_away=True), Here()])

    assert pool.chat(HELLO).message.content == "hi"
    assert active_span_id.get() is None


def test_a_retriever_makes_no_span_for_nobody(begun: list[str]) -> None:
    FailoverRetriever([Finds("a")]).retrieve("q")

    assert begun == ["FailoverRetriever.retrieve"]


def test_what_someone_else_wraps_around_a_target_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def chat(_: Any, messages: Any, **__: Any) -> Response:
        asked.append(messages)
        return Response(message=ChatMessage("mine", role="assistant"))

    monkeypatch.setattr(Here, "chat", chat)

    assert FailoverLLM(targets=[Here()]).chat(HELLO).message.content == "mine"
    assert asked == [HELLO]
