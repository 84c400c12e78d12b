"""What users miss in ``with_fallbacks`` and in the fallback middleware, with a pool instead."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool

from failover_core.testing import FaultServer, faults
from langchain_failover import (
    AllTargetsFailedError,
    FailoverChatModel,
    FailoverEmbeddings,
    FailoverReranker,
)
from tests.langchain.children import Runs, Streaming, Told, openai_child
from tests.langchain.conftest import Door

Servers = tuple[FaultServer, FaultServer]
BREAK = ConnectionResetError("reset")

both_streams = pytest.mark.parametrize("how", ["stream", "astream"])


# "Five calls, five tries on the dead primary": no memory, no breaker, no timeout.


async def test_a_dead_model_is_not_asked_again_and_again(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = faults.Status(500)

    for _ in range(20):
        assert (await door(chat, "Hello")).text == "You said: Hello"

    assert len(servers[0].requests) == chat.router.policy.breaker.consecutive_failures == 5
    assert [target.state for target in chat.router.status().targets] == ["open", "closed"]


async def test_a_refused_key_is_tried_once(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = faults.Status(401)

    for _ in range(5):
        await door(chat, "Hello")

    assert len(servers[0].requests) == 1


async def test_a_model_that_never_answers_costs_its_time_and_no_more(
    door: Door, servers: Servers
) -> None:
    servers[0].fault = faults.Hang()
    model = FailoverChatModel(
        targets=[openai_child(server) for server in servers], policy={"attempt_timeout": 0.5}
    )

    answer = await door(model, "Hello")

    assert answer.text == "You said: Hello"
    assert answer.response_metadata["failover"]["errors"][0]["error_class"] == "timeout"


# "Raises the first error and loses the others."


async def test_every_error_is_kept_in_its_order(door: Door) -> None:
    errors = [ConnectionError("first"), ValueError("second"), OSError("third")]
    model = FailoverChatModel(targets=[Told(answer=error) for error in errors])

    with pytest.raises(AllTargetsFailedError) as caught:
        await door(model, "Hello")

    assert list(caught.value.exceptions) == errors
    assert caught.value.__cause__ is errors[-1]


# "An empty stream is treated as a failure."


@both_streams
async def test_an_empty_stream_is_no_failure(how: str, doors: dict[str, Door]) -> None:
    second = Streaming()
    model = FailoverChatModel(targets=[Streaming(chunks=[]), second])

    answer = await doors[how](model, "Hello")

    assert answer.text == ""
    assert not second.asked
    assert model.router.status().targets[0].failures == 0


# "A bind_tools without an annotation silently drops the fallbacks."


class Unannotated(Told):
    """As people write chat models of their own."""

    def bind_tools(self, tools, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN003, ANN201
        return self.bind(gear=list(tools), **kwargs)


@tool
def add(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


async def test_tools_bound_in_a_way_of_its_own_leave_the_failover_in_place(door: Door) -> None:
    first, second = Unannotated(answer=ConnectionError()), Unannotated()

    answer = await door(FailoverChatModel(targets=[first, second]).bind_tools([add]), "Hello")

    assert answer.text == "fine"
    assert first.asked[0]["gear"] == second.asked[0]["gear"] == [add]


# "Explicit callbacks lose their parent run", and "batch leaves runs unclosed".


async def test_callbacks_that_are_handed_on_keep_their_parent(door: Door) -> None:
    model = FailoverChatModel(targets=[Told(answer=OSError()), Told()])
    runs = Runs()

    async def step(text: str, config: RunnableConfig) -> Any:
        return await door(model, text, {"callbacks": config["callbacks"]})

    await RunnableLambda(step).ainvoke("Hello", {"callbacks": [runs]})

    ((kind, _, parent),) = runs.started
    assert kind == "llm"
    assert parent is not None


async def test_callbacks_of_a_call_hear_of_one_run(door: Door) -> None:
    model = FailoverChatModel(targets=[Told(answer=OSError()), Told()])
    runs = Runs()

    await door(model, "Hello", {"callbacks": [runs]})

    ((_, _, parent),) = runs.started
    assert parent is None
    assert (len(runs.ended), runs.failed) == (1, [])


@pytest.mark.parametrize("how", ["batch", "abatch", "batch_as_completed", "abatch_as_completed"])
async def test_every_run_of_a_batch_is_closed(how: str) -> None:
    def answer(messages: Any) -> Any:
        return OSError() if messages[-1].text == "bad" else "fine"

    model = FailoverChatModel(targets=[Told(answer=answer), Told(answer=answer)])
    runs = Runs()

    served = getattr(model, how)(
        ["good", "bad", "good", "bad"], {"callbacks": [runs]}, return_exceptions=True
    )
    if how == "abatch_as_completed":
        served = [one async for one in served]
    elif how == "abatch":
        served = await served

    assert len(list(served)) == 4
    assert (len(runs.started), len(runs.ended), len(runs.failed)) == (4, 2, 2)


# "It is no BaseChatModel", "nothing for embeddings or rerankers", "only in agents".


def test_a_pool_is_a_chat_model(chat: FailoverChatModel) -> None:
    assert isinstance(chat, BaseChatModel)


async def test_a_pool_works_in_a_plain_chain(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].stop()
    chain = ChatPromptTemplate.from_template("Say {word}") | chat

    assert (await door(chain, {"word": "hello"})).text == "You said: Say hello"


async def test_embeddings_have_it_too(servers: Servers) -> None:
    urls = [server.url for server in servers]
    pool = FailoverEmbeddings.from_urls(urls, model="m")
    healthy = pool.embed_query("hello")
    servers[0].stop()

    assert pool.embed_query("hello") == pytest.approx(healthy)
    assert (await pool.aembed_documents(["hello"]))[0] == pytest.approx(healthy)


async def test_rerankers_have_it_too(servers: Servers) -> None:
    servers[0].stop()
    reranker = FailoverReranker.from_urls([server.url for server in servers], model="m", top_n=1)
    documents = [Document("the sea is blue"), Document("a lighthouse is red")]

    for best in (
        reranker.compress_documents(documents, "what colour has a lighthouse"),
        await reranker.acompress_documents(documents, "what colour has a lighthouse"),
    ):
        assert [document.page_content for document in best] == ["a lighthouse is red"]


# "It retries what is wrong everywhere, and does not tell a wrong key from it."


async def test_a_wrong_request_is_not_sent_to_the_next_model(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = faults.Status(400)

    with pytest.raises(openai.BadRequestError):
        await door(chat, "Hello")

    assert not servers[1].requests


async def test_a_wrong_key_is_another_models_chance(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = faults.Status(401)

    assert (await door(chat, "Hello")).text == "You said: Hello"


# "A break in mid-stream repeats text": a b, and then a b c again.


async def shown(model: FailoverChatModel, how: str) -> tuple[str, BaseException | None]:
    """Return what a reader of a stream has seen, and the error that ended it."""
    seen = ""
    try:
        if how == "stream":
            for chunk in model.stream("Hello"):
                seen += chunk.text
        else:
            async for chunk in model.astream("Hello"):
                seen += chunk.text
    except ConnectionResetError as error:
        return seen, error
    return seen, None


@both_streams
async def test_a_break_in_mid_stream_repeats_no_text(how: str) -> None:
    def children() -> list[BaseChatModel]:
        return [Streaming(chunks=["a ", "b ", BREAK]), Streaming(chunks=["a ", "b ", "c"])]

    resuming = FailoverChatModel(targets=children(), policy={"on_broken_stream": "resume"})

    assert await shown(FailoverChatModel(targets=children()), how) == ("a b ", BREAK)
    assert await shown(resuming, how) == ("a b c", None)
