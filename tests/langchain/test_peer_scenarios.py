"""The scenarios of LangChain's own tests of ``with_fallbacks``, with a pool in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import Runnable, RunnableBinding, RunnableLambda, RunnableParallel
from pydantic import BaseModel

from failover_core.errors import ResponseStatusError
from langchain_failover import AllTargetsFailedError, FailoverChatModel
from tests.langchain.children import Streaming, Told

Build = Callable[[], Runnable[Any, str]]


def failing() -> Told:
    """A model of which nothing can be had, streamed or not."""
    return Streaming(answer=ValueError("down"), chunks=[ValueError("down")])


def working(text: str = "bar") -> Told:
    return Streaming(answer=text, chunks=[text])


def one_fails() -> Runnable[Any, str]:
    return FailoverChatModel(targets=[failing(), working()]) | StrOutputParser()


def two_fail() -> Runnable[Any, str]:
    return FailoverChatModel(targets=[failing(), failing(), working()]) | StrOutputParser()


def in_a_chain() -> Runnable[Any, str]:
    prompt = PromptTemplate.from_template("what did baz say to {buz}")
    return RunnableParallel({"buz": lambda given: given}) | prompt | one_fails()


@pytest.fixture(params=[one_fails, two_fail, in_a_chain], ids=lambda build: build.__name__)
def runnable(request: pytest.FixtureRequest) -> Runnable[Any, str]:
    build: Build = request.param
    return build()


def test_a_later_model_serves_all_sync_doors(runnable: Runnable[Any, str]) -> None:
    assert runnable.invoke("hello") == "bar"
    assert runnable.batch(["hi", "hey", "bye"]) == ["bar"] * 3
    assert "".join(runnable.stream("hello")) == "bar"


async def test_a_later_model_serves_all_async_doors(runnable: Runnable[Any, str]) -> None:
    assert await runnable.ainvoke("hello") == "bar"
    assert await runnable.abatch(["hi", "hey", "bye"]) == ["bar"] * 3
    assert "".join([part async for part in runnable.astream("hello")]) == "bar"


def test_a_chain_around_a_pool_can_be_written_down(runnable: Runnable[Any, str]) -> None:
    written = dumps(runnable, pretty=True)

    assert "FailoverChatModel" in written
    assert "sk-canary" not in written


# What the exception_key is for: whoever comes later hears what went wrong before.


async def test_whoever_comes_after_a_pool_is_given_all_its_errors() -> None:
    pool = FailoverChatModel(targets=[failing(), Told(answer=ConnectionError("gone"))])
    heard: list[dict[str, Any]] = []

    def last_resort(given: dict[str, Any]) -> str:
        heard.append(given)
        return "third"

    chain = (RunnableLambda(lambda given: given["text"]) | pool | StrOutputParser()).with_fallbacks(
        [RunnableLambda(last_resort)], exception_key="exception"
    )

    assert chain.invoke({"text": "baz"}) == "third"
    assert await chain.ainvoke({"text": "baz"}) == "third"
    for given in heard:
        assert isinstance(given["exception"], AllTargetsFailedError)
        assert [str(error) for error in given["exception"].exceptions] == ["down", "gone"]


def test_the_answer_itself_tells_which_models_failed_before() -> None:
    answer = FailoverChatModel(targets=[failing(), working()]).invoke("hello")

    report = answer.response_metadata["failover"]
    assert report["errors"] == [{"target": "told", "error_class": "unknown"}]


# A batch of which each member is served by another model, or by none.


def knowing(*words: str, otherwise: Exception) -> Told:
    """A model that answers only what it knows."""

    def answer(messages: list[BaseMessage]) -> str | Exception:
        return messages[-1].text if messages[-1].text in words else otherwise

    return Told(answer=answer)


@pytest.fixture(params=["batch", "abatch"])
def batch(request: pytest.FixtureRequest) -> Any:
    async def run(model: Runnable[Any, Any], inputs: list[str], **kwargs: Any) -> list[Any]:
        if request.param == "abatch":
            return await model.abatch(inputs, **kwargs)
        return model.batch(inputs, **kwargs)

    return run


WORDS = ["foo", "bar", "baz"]


def pool_of(*children: BaseChatModel) -> Runnable[Any, str]:
    return FailoverChatModel(targets=list(children)) | StrOutputParser()


async def test_each_member_of_a_batch_is_served_by_a_model_that_can(batch: Any) -> None:
    models = [knowing(word, otherwise=ConnectionError()) for word in WORDS]

    assert await batch(pool_of(*models), WORDS) == WORDS


async def test_a_member_that_no_model_can_serve_fails_the_batch(batch: Any) -> None:
    models = [knowing(word, otherwise=ConnectionError()) for word in WORDS[:2]]

    with pytest.raises(AllTargetsFailedError):
        await batch(pool_of(*models), WORDS)


async def test_a_member_that_no_model_can_serve_fails_alone_if_errors_are_returned(
    batch: Any,
) -> None:
    models = [knowing(word, otherwise=ConnectionError()) for word in WORDS[:2]]

    *served, lost = await batch(pool_of(*models), WORDS, return_exceptions=True)

    assert served == WORDS[:2]
    assert isinstance(lost, AllTargetsFailedError)
    assert len(lost.exceptions) == 2


async def test_an_error_that_is_not_to_be_handled_ends_its_member_alone(batch: Any) -> None:
    refusal = ResponseStatusError("wrong everywhere", status_code=400)
    second = knowing(*WORDS, otherwise=ConnectionError())
    models = pool_of(knowing("foo", otherwise=refusal), second)

    served, *refused = await batch(models, WORDS, return_exceptions=True)

    assert served == "foo"
    assert refused == [refusal, refusal]
    assert not second.asked


# Streams that fail at once, and later.

both_streams = pytest.mark.parametrize("how", ["stream", "astream"])


@both_streams
async def test_a_stream_that_fails_at_once_comes_from_the_next_model(how: str, doors: Any) -> None:
    first = Streaming(chunks=[ValueError("immediate error")])
    model = FailoverChatModel(targets=[first, Streaming(chunks=list("foo bar"))])

    assert (await doors[how](model, "hello")).text == "foo bar"


@both_streams
async def test_a_stream_that_fails_after_an_empty_chunk_is_not_lost_either(
    how: str, doors: Any
) -> None:
    first = Streaming(chunks=["", ValueError("delayed error")])
    model = FailoverChatModel(targets=[first, Streaming(chunks=list("foo bar"))])

    assert (await doors[how](model, "hello")).text == "foo bar"


@both_streams
async def test_a_stream_that_fails_after_some_text_raises_its_own_error(
    how: str, doors: Any
) -> None:
    first = Streaming(chunks=["f", ValueError("delayed error")])
    model = FailoverChatModel(targets=[first, Streaming(chunks=list("foo bar"))])

    with pytest.raises(ValueError, match="delayed error"):
        await doors[how](model, "hello")


# What is asked of the runnable itself.


def test_a_pool_names_its_models_and_has_no_attributes_of_theirs() -> None:
    model = FailoverChatModel(targets=[Told(model_name="first"), Told(model_name="second")])

    assert model.model_name == "first, second"
    with pytest.raises(AttributeError):
        _ = model.bar  # type: ignore[attr-defined]


def test_tools_are_bound_to_all_models_at_once() -> None:
    models = [failing(), working()]

    bound = FailoverChatModel(targets=models).bind_tools([])

    assert isinstance(bound, RunnableBinding)
    assert bound.kwargs["tools"] == []
    assert bound.invoke("hello").text == "bar"
    assert [model.asked[0]["gear"] for model in models] == [[], []]


class Mood(BaseModel):
    """How somebody feels."""

    name: str


class Answering(Told):
    """A model with tools, which it always calls."""

    name_of_mood: str = "glad"

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        call = {"name": "Mood", "args": {"name": self.name_of_mood}, "id": "1"}
        object.__setattr__(self, "answer", AIMessage("", tool_calls=[call]))
        return super()._generate(messages, stop, run_manager, **kwargs)


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_structured_output_comes_from_whichever_model_works(how: str, doors: Any) -> None:
    broken: Sequence[BaseChatModel] = [failing(), Told(answer=OSError())]
    model = FailoverChatModel(targets=[*broken, Answering()])

    assert await doors[how](model.with_structured_output(Mood), "hello") == Mood(name="glad")
