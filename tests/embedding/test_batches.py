"""Any number of texts over all targets: spread, halved, kept, and never out of order."""

from __future__ import annotations

import asyncio
import pickle
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from failover_core import (
    AllTargetsFailedError,
    ConfigurationError,
    PartialEmbeddingError,
    ResponseStatusError,
    Router,
    Target,
)
from failover_core.embedding import Embedder, Kind
from failover_core.embedding.space import CANARY
from tests.engine.doors import REFUSED

Embed = Callable[..., Any]


class Limits:
    """Of a client."""

    def __init__(self, items: int | None = None, size: int | None = None) -> None:
        self.items = items
        self.bytes = size
        self.tokens: int | None = None


class Server:
    """Embeds the text of a number as that number, slowly, and as badly as it is told to.

    Attributes:
        requests: the texts of every request.
        peak: most requests that were under way at one time.
    """

    model = "m"
    requests_at_once = 2

    def __init__(
        self,
        *,
        seconds: float = 0.0,
        poison: Sequence[str] = (),
        largest: int | None = None,
        status: int = 422,
        limits: Limits | None = None,
    ) -> None:
        self.requests: list[list[str]] = []
        self.peak = 0
        self.dies_after: int | None = None
        self.limits = limits
        self._seconds = seconds
        self._poison = set(poison)
        self._largest = largest
        self._status = status
        self._running = 0
        self._lock = threading.Lock()

    def _enter(self, texts: Sequence[str]) -> None:
        with self._lock:
            self.requests.append(list(texts))
            if self.dies_after is not None and len(self.requests) > self.dies_after:
                raise REFUSED
            if self._poison & set(texts):
                raise ResponseStatusError("this text is too hot", status_code=self._status)  # noqa: TRY003, EM101 - as servers say
            if self._largest is not None and len(texts) > self._largest:
                raise ResponseStatusError("too many", status_code=413)  # noqa: TRY003, EM101 - as above
            self._running += 1
            self.peak = max(self.peak, self._running)

    def _leave(self, texts: Sequence[str]) -> Any:
        with self._lock:
            self._running -= 1
        return np.array([[float(text), 1.0] for text in texts])

    def embed(self, texts: Sequence[str], kind: Kind) -> Any:
        self._enter(texts)
        time.sleep(self._seconds)
        return self._leave(texts)

    async def aembed(self, texts: Sequence[str], kind: Kind) -> Any:
        self._enter(texts)
        await asyncio.sleep(self._seconds)
        return self._leave(texts)

    @property
    def texts(self) -> list[str]:
        """Every text that was ever sent to it."""
        return [text for request in self.requests for text in request]


class Embedding(Server):
    """Embeds the canary as well."""

    def _leave(self, texts: Sequence[str]) -> Any:
        return super()._leave(["-1" if text == CANARY else text for text in texts])


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest) -> Embed:
    """Embed through the sync or the async door."""

    def through(embedder: Embedder, texts: Any) -> Any:
        if request.param == "sync":
            return embedder.embed(texts, Kind.PASSAGE)
        return asyncio.run(embedder.aembed(texts, Kind.PASSAGE))

    return through


def over(*servers: Server, policy: Any = None, **settings: Any) -> Embedder:
    targets = [Target(server, name=name) for name, server in zip("abcdef", servers, strict=False)]
    router = Router(targets, policy=policy)
    return Embedder(router.begin, router.targets, **{"verify": "declared", **settings})


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def first_column(vectors: Any) -> list[int]:
    return [int(number) for number in vectors[:, 0]]


# Spread


def test_the_requests_of_a_job_go_to_all_targets_at_once(embed: Embed) -> None:
    servers = [Server(seconds=0.01) for _ in range(4)]
    vectors = embed(over(*servers, batch_size=5), numbers(400))
    assert first_column(vectors) == list(range(400))
    assert [len(server.requests) >= 10 for server in servers] == [True] * 4
    assert all(server.peak <= 3 for server in servers)


def test_a_quicker_target_takes_more_of_a_job(embed: Embed) -> None:
    quick, slow = Server(seconds=0.002), Server(seconds=0.05)
    embed(over(slow, quick, batch_size=2), numbers(200))
    assert len(quick.requests) > 3 * len(slow.requests)


def test_a_job_may_keep_to_the_order_of_the_strategy(embed: Embed) -> None:
    first, second = Server(), Server()
    embed(over(first, second, batch_size=2, spread=False), numbers(10))
    assert first.requests == [["0", "1"], ["2", "3"], ["4", "5"], ["6", "7"], ["8", "9"]]
    assert not second.requests


def test_targets_are_asked_no_more_at_once_than_they_allow(embed: Embed) -> None:
    server = Server(seconds=0.005)
    router = Router([Target(server, max_concurrency=1)])
    embedder = Embedder(router.begin, router.targets, batch_size=1, verify="declared")
    embed(embedder, numbers(20))
    assert server.peak == 1


def test_equal_texts_are_sent_once(embed: Embed) -> None:
    server = Server()
    vectors = embed(over(server), ["1", "2", "1", "3", "2", "1"])
    assert first_column(vectors) == [1, 2, 1, 3, 2, 1]
    assert server.texts == ["1", "2", "3"]


def test_a_target_that_dies_on_the_way_loses_and_repeats_nothing(embed: Embed) -> None:
    servers = [Server(seconds=0.002) for _ in range(3)]
    servers[1].dies_after = 5
    vectors = embed(over(*servers, batch_size=4), numbers(600))
    assert first_column(vectors) == list(range(600))
    answered = servers[0].requests + servers[1].requests[:5] + servers[2].requests
    sent = Counter(text for request in answered for text in request)
    assert set(sent.values()) == {1}
    assert len(sent) == 600


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_vector_is_that_of_its_text(seed: int) -> None:
    dice = random.Random(seed)
    servers = [Server(largest=dice.choice([None, 3, 7])) for _ in range(dice.randint(1, 4))]
    for server in servers[1:]:
        server.dies_after = dice.choice([None, 1, 5])
    texts = [str(dice.randint(0, 80)) for _ in range(dice.randint(1, 200))]
    embedder = over(*servers, batch_size=dice.randint(1, 20))
    if dice.random() < 0.5:
        vectors = embedder.embed(texts, Kind.PASSAGE)
    else:
        vectors = asyncio.run(embedder.aembed(texts, Kind.PASSAGE))
    assert first_column(vectors) == [int(text) for text in texts], f"seed {seed}"


# Sizes


def test_what_clients_say_they_take_is_never_exceeded(embed: Embed) -> None:
    servers = Server(limits=Limits(items=3)), Server(limits=Limits(items=8))
    embed(over(*servers), numbers(40))
    assert max(len(request) for server in servers for request in server.requests) == 3


def test_bytes_are_counted_as_they_are_sent(embed: Embed) -> None:
    server = Server(limits=Limits(size=100))
    texts = [f"{number:030}" for number in range(12)]
    assert first_column(embed(over(server), texts)) == list(range(12))
    assert max(len(request) for request in server.requests) == 3


def test_a_text_above_the_limit_goes_alone(embed: Embed) -> None:
    server = Server(limits=Limits(size=10))
    embed(over(server), [f"{1:030}", "2", "3"])
    assert [f"{1:030}"] in server.requests


def test_a_server_that_refuses_the_size_is_asked_for_less_from_then_on(embed: Embed) -> None:
    server = Server(largest=10, status=413)
    embedder = over(server, batch_size=64, spread=False)
    embed(embedder, numbers(200))
    server.requests.clear()
    embed(embedder, numbers(200))
    assert {len(request) for request in server.requests} == {8}


def test_full_requests_leave_room_for_the_canary_that_verifies_their_target(embed: Embed) -> None:
    servers = [Embedding(limits=Limits(items=64)) for _ in range(3)]
    vectors = embed(over(*servers, verify="canary"), numbers(1_000))
    assert first_column(vectors) == list(range(1_000))
    requests = [request for server in servers for request in server.requests]
    assert max(map(len, requests)) == 64
    assert [CANARY] not in requests


def test_one_text_that_is_too_long_does_not_make_all_requests_small(embed: Embed) -> None:
    server = Server(poison=["17"], status=413)
    embedder = over(server, batch_size=64, spread=False)
    with pytest.raises(PartialEmbeddingError):
        embed(embedder, numbers(64))
    server.requests.clear()
    embed(embedder, numbers(17))
    assert [len(request) for request in server.requests] == [17]


# Poison


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_text_that_nobody_takes_is_named_and_all_other_vectors_are_kept(
    status: int, embed: Embed
) -> None:
    servers = [Server(poison=["13", "77"], status=status) for _ in range(2)]
    with pytest.raises(
        PartialEmbeddingError, match=r"2 of 100 .*texts\[13\], texts\[77\]"
    ) as caught:
        embed(over(*servers, batch_size=20), numbers(100))
    error = caught.value
    assert set(error.errors) == {13, 77}
    assert isinstance(error.errors[13], ResponseStatusError)
    assert error.__cause__ is error.errors[13]
    assert {index: int(vector[0]) for index, vector in error.results.items()} == {
        number: number for number in range(100) if number not in (13, 77)
    }


def test_equal_poison_texts_are_all_named(embed: Embed) -> None:
    with pytest.raises(PartialEmbeddingError) as caught:
        embed(over(Server(poison=["5"])), ["1", "5", "2", "5"])
    assert set(caught.value.errors) == {1, 3}


def test_one_text_alone_raises_what_the_server_said(embed: Embed) -> None:
    with pytest.raises(ResponseStatusError, match="too hot"):
        embed(over(Server(poison=["5"])), ["5"])


def test_a_request_that_is_wrong_whatever_the_text_is_given_up_soon(embed: Embed) -> None:
    server = Server(poison=numbers(1_000))
    with pytest.raises(ResponseStatusError):
        embed(over(server, batch_size=256, spread=False), numbers(1_000))
    assert len(server.requests) < 20


def test_when_the_last_target_dies_what_was_paid_for_is_kept(embed: Embed) -> None:
    server = Server()
    server.dies_after = 3
    with pytest.raises(PartialEmbeddingError) as caught:
        embed(over(server, batch_size=10, spread=False), numbers(100))
    assert sorted(caught.value.results) == list(range(30))
    assert sorted(caught.value.errors) == list(range(30, 100))
    assert isinstance(caught.value.errors[99], AllTargetsFailedError)
    assert len(server.requests) == 4


def test_the_error_pickles_with_its_vectors() -> None:
    with pytest.raises(PartialEmbeddingError) as caught:
        over(Server(poison=["5"])).embed(numbers(10), Kind.PASSAGE)
    copied = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert str(copied) == str(caught.value)
    assert copied.results[3].tolist() == [3, 1]
    assert isinstance(copied.errors[5], ResponseStatusError)


# Cancelling


async def test_a_cancelled_job_sends_nothing_further() -> None:
    servers = [Server(seconds=0.02) for _ in range(2)]
    job = asyncio.create_task(over(*servers, batch_size=1).aembed(numbers(500), Kind.PASSAGE))
    await asyncio.sleep(0.05)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    sent = sum(len(server.requests) for server in servers)
    await asyncio.sleep(0.1)
    assert sum(len(server.requests) for server in servers) == sent < 500


def test_an_interrupted_job_sends_nothing_further() -> None:
    caller = threading.current_thread()

    class Interrupted(Server):
        def embed(self, texts: Sequence[str], kind: Kind) -> Any:
            if threading.current_thread() is caller and len(self.requests) > 4:
                raise KeyboardInterrupt
            return super().embed(texts, kind)

    server = Interrupted(seconds=0.005)
    with pytest.raises(KeyboardInterrupt):
        over(server, batch_size=1).embed(numbers(500), Kind.PASSAGE)
    assert len(server.requests) < 20


# Streams of texts


async def collected(embedder: Embedder, texts: Any, *, is_async: bool) -> list[Any]:
    if is_async:
        return [vectors async for vectors in embedder.aiter_embed(texts, Kind.PASSAGE)]
    return list(embedder.iter_embed(texts, Kind.PASSAGE))


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_stream_of_texts_comes_back_in_order(is_async: bool) -> None:  # noqa: FBT001
    arrays = await collected(
        over(Server(), Server(), batch_size=8), iter(numbers(1_000)), is_async=is_async
    )
    assert first_column(np.concatenate(arrays)) == list(range(1_000))


def test_a_stream_holds_no_more_texts_than_it_sends_soon() -> None:
    read = 0

    def corpus() -> Any:
        nonlocal read
        for number in range(100_000):
            read += 1
            yield str(number)

    arrays = over(Server(), batch_size=10).iter_embed(corpus(), Kind.PASSAGE)
    first = next(arrays)
    assert len(first) == read <= 100


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_in_a_stream_counts_from_its_first_text(is_async: bool) -> None:  # noqa: FBT001
    embedder = over(Server(poison=["777"]), batch_size=10)
    with pytest.raises(PartialEmbeddingError, match="777") as caught:
        await collected(embedder, numbers(1_000), is_async=is_async)
    assert set(caught.value.errors) == {777}


def test_a_string_is_no_stream_of_texts() -> None:
    with pytest.raises(ConfigurationError, match="one string"):
        list(over(Server()).iter_embed("abc", Kind.PASSAGE))


def test_no_texts_at_all_yield_nothing() -> None:
    assert not list(over(Server()).iter_embed([], Kind.PASSAGE))
