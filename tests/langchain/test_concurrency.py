"""Many threads, many tasks, many event loops: one pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from failover_core.errors import AllTargetsFailedError, AttemptTimeoutError
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel, FailoverEmbeddings
from tests.langchain.children import Streaming, Told

Servers = tuple[FaultServer, FaultServer]


def in_flight(model: FailoverChatModel) -> int:
    return sum(target.in_flight for target in model.router.status().targets)


def test_64_threads_get_their_own_answers_while_a_server_dies(
    chat: FailoverChatModel, servers: Servers
) -> None:
    together = threading.Barrier(64)

    def ask(number: int) -> tuple[str, str]:
        together.wait()
        first = str(chat.invoke(f"number {number}").content)
        if number == 0:
            servers[0].stop()
        *_, _last = (second := list(chat.stream(f"again {number}")))
        return first, "".join(str(chunk.content) for chunk in second)

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(ask, range(64)))

    assert answers == [(f"You said: number {n}", f"You said: again {n}") for n in range(64)]
    assert in_flight(chat) == 0


async def test_concurrent_tasks_get_their_own_answers(
    chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].script([faults.Status(503), faults.Reset()] * 3)

    answers = await asyncio.gather(*(chat.ainvoke(f"number {n}") for n in range(50)))

    assert [one.content for one in answers] == [f"You said: number {n}" for n in range(50)]


def test_one_pool_serves_one_event_loop_after_another(
    chat: FailoverChatModel, servers: Servers
) -> None:
    embeddings = FailoverEmbeddings.from_urls([server.url for server in servers], model="m")

    async def once() -> None:
        await chat.ainvoke("Hello")
        await embeddings.aembed_query("Hello")

    for _ in range(3):
        asyncio.run(once())

    for router in (chat.router, embeddings.router):
        assert router.status().failed_over == 0


async def test_one_pool_serves_two_event_loops_at_once(chat: FailoverChatModel) -> None:
    await chat.ainvoke("here")

    there = await asyncio.to_thread(lambda: asyncio.run(chat.ainvoke("there")))
    here = await chat.ainvoke("here again")

    assert (there.content, here.content) == ("You said: there", "You said: here again")
    assert chat.router.status().failed_over == 0


async def until(happened: Callable[[], Any]) -> None:
    for _ in range(500):
        if happened():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not happen within 5 s")


async def _consume(model: FailoverChatModel) -> None:
    async for _ in model.astream("Hello"):
        pass


async def _invoke(model: FailoverChatModel) -> None:
    await model.ainvoke("Hello")


@pytest.mark.parametrize("door", [_invoke, _consume])
async def test_a_cancelled_call_gives_its_permit_back_and_blames_nobody(
    door: Callable[[FailoverChatModel], Coroutine[Any, Any, None]],
    chat: FailoverChatModel,
    servers: Servers,
) -> None:
    servers[0].fault = faults.Hang()
    task = asyncio.create_task(door(chat))
    await until(lambda: servers[0].requests)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert in_flight(chat) == 0
    assert chat.router.status().targets[0].failures == 0
    assert not servers[1].requests


async def test_an_abandoned_stream_gives_its_permit_back() -> None:
    model = FailoverChatModel(targets=[Streaming(chunks=["a", "b", "c"])])

    for _ in model.stream("Hello"):
        break
    chunks: Any = model.astream("Hello")
    await anext(chunks)
    await chunks.aclose()
    for _ in range(10):  # the event loop closes what LangChain left open
        await asyncio.sleep(0)

    assert in_flight(model) == 0
    assert model.router.status().targets[0].failures == 0


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_silent_child_is_left_when_its_time_is_over(is_async: bool) -> None:  # noqa: FBT001
    over = threading.Event()
    silent = Told(answer=lambda _: over.wait(10) and "late")
    model = FailoverChatModel(
        targets=[silent, Told(answer="in time")], policy={"attempt_timeout": 0.2}
    )

    answer = await model.ainvoke("Hello") if is_async else model.invoke("Hello")
    over.set()

    assert answer.content == "in time"
    assert answer.response_metadata["failover"]["errors"][0]["error_class"] == "timeout"


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_silence_inside_a_stream_is_a_break(
    how: str, chat: FailoverChatModel, servers: Servers, doors: dict[str, Any]
) -> None:
    servers[0].fault = faults.StreamHang(after_chunks=1)
    impatient = chat.model_copy(update={"policy": {"idle_timeout": 0.2}})

    with pytest.raises(AttemptTimeoutError):
        await doors[how](impatient, "Hello there")


async def test_the_deadline_of_the_call_holds_over_all_targets(
    chat: FailoverChatModel, servers: Servers
) -> None:
    for server in servers:
        server.fault = faults.Trickle()
    limited = chat.model_copy(update={"policy": {"total_timeout": 0.6}})

    with pytest.raises(AllTargetsFailedError) as caught:
        limited.invoke("Hello")

    assert caught.value.error_class == "timeout"
