"""Single texts that are asked for at the same moment share their requests, and nothing else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from failover_core import AllTargetsFailedError, ResponseStatusError, Router, Target
from failover_core.clients import InfinityClient, metered
from failover_core.embedding import Embedder, Kind, Vectors
from failover_core.embedding.space import CANARY
from failover_core.testing import FaultServer
from failover_core.testing.faults import Hang, Poison, Slow

QUESTIONS = [f"question {number} of the keeper" for number in range(40)]
PLACES = 2
"""Requests that a target may have under way."""


@pytest.fixture
def servers() -> Iterator[list[FaultServer]]:
    with FaultServer() as first, FaultServer() as second:
        yield [first, second]


@pytest.fixture
def server(servers: list[FaultServer]) -> FaultServer:
    return servers[0]


def embedder_of(*servers: FaultServer, strategy: str = "priority") -> Embedder:
    """Return an embedder that knows its space already."""
    clients = [InfinityClient(server.url, model="m") for server in servers]
    router = Router(
        [Target(client, name=name) for client, name in zip(clients, "ab", strict=False)],
        strategy=strategy,
    )
    embedder = Embedder(router.begin, router.targets)
    embedder.space()
    return embedder


async def ask(embedder: Embedder, texts: list[str], kind: Kind = Kind.QUERY) -> list[Vectors]:
    return await asyncio.gather(*(embedder.aembed([text], kind) for text in texts))


def sent(server: FaultServer) -> list[list[str]]:
    """Return the texts of each request since the space was asked for."""
    inputs = [request.body["input"] for request in server.requests]
    found = [[text for text in texts if text != CANARY] for texts in inputs]
    return [texts for texts in found if texts]


async def test_calls_of_one_moment_share_a_request_for_each_place(server: FaultServer) -> None:
    await ask(embedder_of(server), QUESTIONS)
    assert sorted(map(len, sent(server))) == [len(QUESTIONS) // PLACES] * PLACES


async def test_every_call_gets_the_vector_of_its_own_text(server: FaultServer) -> None:
    embedder = embedder_of(server)
    found = np.concatenate(await ask(embedder, QUESTIONS))
    np.testing.assert_array_equal(found, embedder.embed(QUESTIONS, Kind.QUERY))


async def test_a_kept_vector_keeps_no_other_in_memory(server: FaultServer) -> None:
    found = await ask(embedder_of(server), QUESTIONS)
    assert all(vector.base is None for vector in found)


async def test_equal_texts_are_embedded_once(server: FaultServer) -> None:
    found = await ask(embedder_of(server), QUESTIONS[:1] * 10)
    assert sent(server) == [QUESTIONS[:1]]
    assert len({vector.tobytes() for vector in found}) == 1


async def test_calls_of_other_moments_go_by_themselves(server: FaultServer) -> None:
    embedder = embedder_of(server)
    for question in QUESTIONS[:3]:
        await embedder.aembed([question], Kind.QUERY)
    assert sent(server) == [[question] for question in QUESTIONS[:3]]


async def test_queries_and_passages_never_share_a_request(server: FaultServer) -> None:
    embedder = embedder_of(server)
    await asyncio.gather(ask(embedder, QUESTIONS[:20]), ask(embedder, QUESTIONS[20:], Kind.PASSAGE))
    for texts in sent(server):
        assert not set(texts) & set(QUESTIONS[:20]) or not set(texts) & set(QUESTIONS[20:])


async def test_a_poison_text_fails_its_own_call_alone(server: FaultServer) -> None:
    embedder = embedder_of(server)
    server.fault = Poison("question 7 ")
    asked = (embedder.aembed([text], Kind.QUERY) for text in QUESTIONS)
    found = await asyncio.gather(*asked, return_exceptions=True)
    failed = {place for place, one in enumerate(found) if isinstance(one, BaseException)}
    assert failed == {7}
    assert isinstance(found[7], ResponseStatusError)


async def test_poison_texts_fail_their_own_calls_alone_however_many(server: FaultServer) -> None:
    embedder = embedder_of(server)
    server.fault = Poison()
    texts = [*(f"poison {number}" for number in range(20)), "fine"]

    outcomes = await asyncio.gather(
        *(embedder.aembed([text], Kind.QUERY) for text in texts), return_exceptions=True
    )

    assert [isinstance(one, ResponseStatusError) for one in outcomes] == [True] * 20 + [False]


async def test_the_next_target_answers_every_call_when_the_first_is_dead(
    servers: list[FaultServer],
) -> None:
    embedder = embedder_of(*servers)
    servers[0].stop()
    found = np.concatenate(await ask(embedder, QUESTIONS))
    np.testing.assert_array_equal(found, embedder.embed(QUESTIONS, Kind.QUERY))


async def test_every_call_fails_when_nobody_can_answer(server: FaultServer) -> None:
    embedder = embedder_of(server)
    server.stop()
    asked = (embedder.aembed([text], Kind.QUERY) for text in QUESTIONS)
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(one) for one in found} == {AllTargetsFailedError}


@pytest.mark.parametrize(
    ("strategy", "shares"), [("priority", [PLACES * 2, 0]), ("round_robin", [PLACES, PLACES])]
)
async def test_the_strategy_decides_where_shared_requests_go(
    servers: list[FaultServer], strategy: str, shares: list[int]
) -> None:
    await ask(embedder_of(*servers, strategy=strategy), QUESTIONS)
    assert [len(sent(server)) for server in servers] == shares


async def test_a_call_that_is_given_up_takes_no_other_along(server: FaultServer) -> None:
    embedder = embedder_of(server)
    server.fault = Slow(0.2)
    calls = [asyncio.create_task(embedder.aembed([text], Kind.QUERY)) for text in QUESTIONS]
    await asyncio.sleep(0.05)
    calls[0].cancel()
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert not any(isinstance(one, BaseException) for one in found[1:])


async def test_nothing_goes_on_when_every_call_is_given_up(server: FaultServer) -> None:
    embedder = embedder_of(server)
    server.fault = Hang()
    calls = [asyncio.create_task(embedder.aembed([text], Kind.QUERY)) for text in QUESTIONS]
    await asyncio.sleep(0.05)
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    (shared,) = (task for task in asyncio.all_tasks() if task.get_name() == "failover-joint")
    await asyncio.wait([shared], timeout=10)
    assert shared.cancelled()


async def test_a_call_that_follows_one_given_up_in_the_same_moment_is_served(
    server: FaultServer,
) -> None:
    embedder = embedder_of(server)
    given_up = asyncio.create_task(embedder.aembed(QUESTIONS[:1], Kind.QUERY))
    await asyncio.sleep(0)
    given_up.cancel()
    served = asyncio.create_task(embedder.aembed(QUESTIONS[1:2], Kind.QUERY))
    await asyncio.wait([given_up, served])
    assert given_up.cancelled()
    assert (await served).shape == (1, 384)


async def test_calls_end_when_the_loop_cancels_every_task(server: FaultServer) -> None:
    embedder = embedder_of(server)
    server.fault = Hang()
    call = asyncio.create_task(embedder.aembed(QUESTIONS[:1], Kind.QUERY))
    await asyncio.sleep(0)
    (shared,) = (task for task in asyncio.all_tasks() if task.get_name() == "failover-joint")
    shared.cancel()
    await asyncio.wait([call])
    assert call.cancelled()


async def test_a_call_whose_tokens_are_counted_goes_by_itself(server: FaultServer) -> None:
    embedder = embedder_of(server)

    async def counted(text: str) -> int:
        with metered() as usage:
            await embedder.aembed([text], Kind.QUERY)
        return usage.tokens

    tokens = await asyncio.gather(*map(counted, QUESTIONS[:4]))
    assert sorted(sent(server)) == [[question] for question in QUESTIONS[:4]]
    assert all(tokens)


def test_loops_of_several_threads_share_nothing(server: FaultServer) -> None:
    embedder = embedder_of(server)
    expected = embedder.embed(QUESTIONS, Kind.QUERY)

    def in_a_loop(_: int) -> bool:
        found = np.concatenate(asyncio.run(ask(embedder, QUESTIONS)))
        return bool((found == expected).all())

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(in_a_loop, range(12)))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_tasks_that_start_at_once_share_requests_too(server: FaultServer) -> None:
    embedder = embedder_of(server)
    loop = asyncio.get_running_loop()
    loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009 - new in 3.12
    await ask(embedder, QUESTIONS)
    assert len(sent(server)) == PLACES
