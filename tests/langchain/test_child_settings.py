"""Callbacks, tags, metadata and caches that a child has of its own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, CallbackManager
from langchain_core.language_models import BaseChatModel

from failover_core import AllTargetsFailedError
from langchain_failover import FailoverChatModel, Target
from tests.langchain.children import Streaming, Told
from tests.langchain.conftest import Door, ainvoke, invoke


class Heard(BaseCallbackHandler):
    """Writes down what it hears of runs."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.texts: list[str] = []
        self.tokens: list[str] = []
        self.errors: list[BaseException] = []

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        self.started.append({"run_id": run_id, **kwargs})

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.texts.append(response.generations[0][0].text)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.errors.append(error)


class HeardLater(AsyncCallbackHandler):
    """Counts, in a coroutine."""

    def __init__(self) -> None:
        self.ended = 0

    async def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.ended += 1


def child(answer: Any, heard: Any, **settings: Any) -> BaseChatModel:
    """Return a chat model with callbacks, which answers or fails in streams too."""
    chunks = [answer] if isinstance(answer, BaseException) else [answer[:2], answer[2:]]
    return Streaming(answer=answer, chunks=chunks, callbacks=heard, **settings)


async def test_callbacks_of_a_child_hear_of_its_attempts_and_of_no_others(door: Door) -> None:
    first, second, unused = Heard(), Heard(), Heard()
    lost = ConnectionError("gone")
    model = FailoverChatModel(
        targets=[child(lost, [first]), child("fine", [second]), child("never", [unused])]
    )

    assert (await door(model, "Hello")).text == "fine"

    assert (first.errors, first.texts) == ([lost], [])
    assert (second.errors, second.texts) == ([], ["fine"])
    assert len(first.started) == len(second.started) == 1
    assert not unused.started


@pytest.mark.parametrize("door", [invoke, ainvoke])
async def test_the_run_of_an_attempt_is_below_the_run_of_the_call(door: Door) -> None:
    call, attempt = Heard(), Heard()
    model = FailoverChatModel(
        targets=[child("fine", [attempt], tags=["mine"], metadata={"team": "a"})]
    )

    await door(model, "Hello", {"callbacks": [call]})

    (outer,), (inner,) = call.started, attempt.started
    assert inner["parent_run_id"] == outer["run_id"]
    assert inner["tags"] == ["mine"]
    assert inner["metadata"]["team"] == "a"
    assert inner["invocation_params"]["model_name"] == "told"
    assert call.texts == attempt.texts == ["fine"]


async def test_callbacks_that_hear_of_the_call_do_not_hear_of_the_attempt_too(door: Door) -> None:
    heard = Heard()
    model = FailoverChatModel(targets=[child("fine", [heard])], callbacks=[heard])

    await door(model, "Hello")

    assert len(heard.started) == len(heard.texts) == 1


async def test_streamed_tokens_are_heard_as_they_come(doors: dict[str, Door]) -> None:
    heard = Heard()
    model = FailoverChatModel(targets=[child("fine", [heard])])

    for name in ("stream", "astream"):
        await doors[name](model, "Hello")

    assert [token for token in heard.tokens if token] == ["fi", "ne"] * 2


async def test_a_manager_of_callbacks_serves_as_well(door: Door) -> None:
    heard = Heard()
    model = FailoverChatModel(targets=[child("fine", CallbackManager([heard]))])

    await door(model, "Hello")

    assert heard.texts == ["fine"]


async def test_callbacks_may_be_coroutines(doors: dict[str, Door]) -> None:
    heard = HeardLater()
    model = FailoverChatModel(targets=[child("fine", [heard])])

    for name in ("ainvoke", "astream"):
        await doors[name](model, "Hello")

    assert heard.ended == 2


async def test_a_stream_that_is_left_ends_the_run_of_its_attempt() -> None:
    heard = Heard()
    model = FailoverChatModel(targets=[child("fine", [heard])])

    chunks = model.stream("Hello")
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]

    assert len(heard.errors) == 1


async def test_callbacks_of_a_pool_among_the_targets_are_heard(door: Door) -> None:
    heard = Heard()
    inner = FailoverChatModel(targets=[Told(answer=OSError()), Told()], callbacks=[heard])

    assert (await door(FailoverChatModel(targets=[inner]), "Hello")).text == "fine"
    assert heard.texts == ["fine"]


async def test_a_child_answers_from_its_own_cache(doors: dict[str, Door]) -> None:
    cached = Told(answer="once", cache=InMemoryCache())
    model = FailoverChatModel(targets=[Target(cached, name="cached"), Told(answer="other")])

    answers = [await doors[name](model, "Hello") for name in ("invoke", "ainvoke", "invoke")]

    assert [answer.text for answer in answers] == ["once"] * 3
    assert {answer.response_metadata["failover"]["target"] for answer in answers} == {"cached"}
    assert len(cached.asked) == 1


async def test_callbacks_of_two_children_hear_of_each_attempt_once(door: Door) -> None:
    heard = Heard()
    model = FailoverChatModel(targets=[child(OSError("a"), [heard]), child(OSError("b"), [heard])])

    with pytest.raises(AllTargetsFailedError):
        await door(model, "Hello")

    assert [str(error) for error in heard.errors] == ["a", "b"]
