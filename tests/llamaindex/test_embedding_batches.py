"""Batches of any number: sent once, never shifted, ended together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.text_embeddings_inference import (  # type: ignore[import-untyped]
    TextEmbeddingsInference,
)
from pydantic import PrivateAttr

from failover_core import (
    AllTargetsFailedError,
    EmbeddingSpaceMismatchError,
    ErrorClass,
    PartialEmbeddingError,
    ResponseStatusError,
)
from failover_core.embedding.space import CANARY
from failover_core.testing import FaultServer
from failover_core.testing.faults import OtherModel, Status
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import Scripted, over_http, sent_to, served_vectors

Servers = tuple[FaultServer, FaultServer]

MANY = [f"The boat number {number} sails at dawn." for number in range(1_003)]
ANSWERS = Scripted()


def error_classes(pool: FailoverEmbedding) -> set[ErrorClass | None]:
    return {event.error_class for event in pool.router.events if event.error_class}


@pytest.fixture(params=["wrapped", "urls"])
def pool(request: pytest.FixtureRequest, pair: Servers) -> Iterator[FailoverEmbedding]:
    """A pool over two servers, the first of which is dead in half of the tests."""
    if request.param == "wrapped":
        pool = FailoverEmbedding(targets=[over_http(server) for server in pair])
    else:
        urls = [server.url for server in pair]
        pool = FailoverEmbedding.from_urls(urls, model="m", embed_batch_size=100)
    yield pool
    pool.router.close()


@pytest.mark.parametrize("show_progress", [False, True])
@pytest.mark.parametrize("num_workers", [None, 3])
@pytest.mark.parametrize("count", [0, 1, 100, 101, 1_003])
async def test_any_number_of_texts_comes_back_in_order(
    pool: FailoverEmbedding,
    count: int,
    num_workers: int | None,
    show_progress: bool,  # noqa: FBT001 - a parameter of the test
    capsys: pytest.CaptureFixture[str],
) -> None:
    texts = MANY[:count]
    pool.num_workers = num_workers

    assert pool.get_text_embedding_batch(texts, show_progress=show_progress) == served_vectors(
        texts
    )
    assert await pool.aget_text_embedding_batch(
        texts, show_progress=show_progress
    ) == served_vectors(texts)

    bar = f"{count}/{count}" if count else "0it"
    assert (bar in capsys.readouterr().err) is show_progress
    await pool.router.aclose()


@pytest.mark.parametrize("faults", [[None, Status(500)], [Status(500), None, Status(503)]])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_batch_that_fails_half_way_resends_only_what_is_missing(
    servers: Servers,
    faults: list[Status | None],
    is_async: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    urls = [server.url for server in servers]
    pool = FailoverEmbedding.from_urls(urls, model="m", embed_batch_size=100, verify="declared")
    servers[0].script(faults)

    if is_async:
        vectors = await pool.aget_text_embedding_batch(MANY)
    else:
        vectors = pool.get_text_embedding_batch(MANY)
    await pool.router.aclose()

    resent = sent_to(servers[1], among=MANY)
    assert vectors == served_vectors(MANY)
    assert 0 < len(resent) <= 200
    assert sent_to(*servers, among=MANY) == Counter(MANY) + resent
    assert set(resent.values()) == {1}


class Slow(Scripted):
    """An embedding whose async answers take their time.

    Attributes:
        ended: how often it was begun, answered and called off.
    """

    _ended: Counter[str] = PrivateAttr(default_factory=Counter)
    _is_busy: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)
    _gate: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @property
    def ended(self) -> Counter[str]:
        return self._ended

    @property
    def gate(self) -> asyncio.Event:
        return self._gate

    @property
    def is_busy(self) -> asyncio.Event:
        """Set when three batches have been begun."""
        return self._is_busy

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._ended["begun"] += 1
        if self._ended["begun"] == 3:
            self._is_busy.set()
        if self.poison in texts:
            await self._is_busy.wait()
            message = "that text is bad"
            raise ResponseStatusError(message, status_code=400)
        try:
            await self._gate.wait()
        except asyncio.CancelledError:
            self._ended["called off"] += 1
            raise
        self._ended["answered"] += 1
        return self._get_text_embeddings(texts)


def slow_pool(**options: Any) -> tuple[FailoverEmbedding, Slow]:
    child = Slow(poison=MANY[0], embed_batch_size=1)
    return FailoverEmbedding(targets=[child], verify="declared", **options), child


@pytest.mark.parametrize("show_progress", [False, True])
async def test_when_a_batch_fails_for_good_the_others_are_called_off(
    show_progress: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    pool, child = slow_pool()

    with pytest.raises(ResponseStatusError, match="that text is bad"):
        await pool.aget_text_embedding_batch(MANY[:9], show_progress=show_progress)

    assert child.ended["called off"] == child.ended["begun"] - 1
    assert not child.ended["answered"]
    assert pool.router.status().targets[0].in_flight == 0


async def test_when_a_batch_fails_for_good_those_that_wait_for_a_worker_are_never_sent() -> None:
    pool, child = slow_pool(num_workers=3)

    with pytest.raises(ResponseStatusError, match="that text is bad"):
        await pool.aget_text_embedding_batch(MANY[:9])
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)

    assert child.ended == {"begun": 3, "called off": 2}


async def test_with_a_cache_what_is_on_its_way_is_kept_and_never_sent_again() -> None:
    pool, child = slow_pool(embeddings_cache=SimpleKVStore())
    asyncio.get_running_loop().call_later(0.01, child.gate.set)

    with pytest.raises(PartialEmbeddingError, match=r"texts\[0\]") as caught:
        await pool.aget_text_embedding_batch(MANY[:9])
    assert list(map(str, caught.value.errors.values())) == ["that text is bad"]
    child.poison = None
    vectors = await pool.aget_text_embedding_batch(MANY[:9])

    assert vectors == ANSWERS.answer(MANY[:9])
    assert child.ended == {"begun": 10, "answered": 9}


class Budget(BaseCallbackHandler):
    """Has enough after two batches."""

    def __init__(self) -> None:
        super().__init__([], [])
        self._left = 2

    def on_event_start(self, *args: Any, **kwargs: Any) -> str:
        self._left -= 1
        if self._left < 0:
            message = "the budget is used up"
            raise ValueError(message)
        return ""

    def on_event_end(self, *args: Any, **kwargs: Any) -> None:
        pass

    def start_trace(self, trace_id: str | None = None) -> None:
        pass

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        pass


def test_an_error_of_the_callers_own_is_raised_as_it_is() -> None:
    pool = FailoverEmbedding(
        targets=[Scripted(embed_batch_size=5)], callback_manager=CallbackManager([Budget()])
    )

    with pytest.raises(ValueError, match="the budget is used up"):
        pool.get_text_embedding_batch(MANY[:30])


async def test_a_cancelled_call_leaves_nothing_running() -> None:
    pool, child = slow_pool()
    call = asyncio.create_task(pool.aget_text_embedding_batch(MANY[1:9]))
    await child.is_busy.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert child.ended == {"begun": 8, "called off": 8}
    assert pool.router.status().failed == 0


def test_after_an_outage_of_all_only_what_is_missing_is_sent_again(servers: Servers) -> None:
    pool = FailoverEmbedding(
        targets=[over_http(server, embed_batch_size=10) for server in servers],
        embeddings_cache=SimpleKVStore(),
        verify="declared",
    )
    for server, answers in zip(servers, (2, 1), strict=True):
        server.script([*[None] * answers, *[Status(500)] * 20])
    texts = MANY[:80]

    with pytest.raises(PartialEmbeddingError) as caught:
        pool.get_text_embedding_batch(texts)
    assert isinstance(caught.value.__cause__, AllTargetsFailedError)
    assert [*caught.value.results, *caught.value.errors] == list(range(80))
    for server in servers:
        server.script([])
        server.clear()
    vectors = pool.get_text_embedding_batch(texts)

    assert vectors == served_vectors(texts)
    assert sent_to(*servers, among=texts) == Counter(texts[30:])


@pytest.mark.parametrize(
    "answer",
    [
        lambda rows: rows[:-1],
        lambda rows: [*rows, rows[0]],
        lambda rows: rows[:1],
        lambda rows: [],
        lambda rows: [rows[0], *rows[1:-1], rows[0][:-1]],
        lambda rows: [[*row[:-1], float("nan")] for row in rows],
        lambda rows: [*rows[:-1], [float("inf")] * 3],
        lambda rows: [*rows[:-1], None],
        lambda rows: [*rows[:-1], [1.0, None, 2.0]],
        lambda rows: [*rows[:-1], [1.0, "2.0", 3.0]],
        lambda rows: [*rows[:-1], {"error": "overloaded"}],
        lambda rows: {"error": "Model is overloaded", "error_type": "overloaded"},
        lambda rows: {"data": rows},
        lambda rows: None,
        lambda rows: "overloaded",
        lambda rows: [[row] for row in rows],
        lambda rows: [[] for _ in rows],
    ],
)
async def test_an_answer_that_is_no_vector_per_text_fails_over_and_shifts_nothing(
    answer: Any,
) -> None:
    class Odd(Scripted):
        def answer(self, texts: list[str]) -> Any:
            return answer(super().answer(texts))

    texts = MANY[:12]
    pool = FailoverEmbedding(targets=[Odd(embed_batch_size=5), Scripted(embed_batch_size=5)])

    assert pool.get_text_embedding_batch(texts) == ANSWERS.answer(texts)
    assert await pool.aget_text_embedding_batch(texts) == ANSWERS.answer(texts)
    assert error_classes(pool) == {ErrorClass.MALFORMED}


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_client_that_never_looks_at_the_status_does_not_pass_errors_on(
    servers: Servers, status: int
) -> None:
    servers[0].fault = Status(status)
    careless = TextEmbeddingsInference(model_name="m", base_url=servers[0].url)
    pool = FailoverEmbedding(targets=[careless, over_http(servers[1])])
    texts = MANY[:12]

    assert pool.get_text_embedding_batch(texts) == served_vectors(texts)
    assert await pool.aget_text_embedding_batch(texts) == served_vectors(texts)
    assert pool.get_query_embedding(texts[0]) == served_vectors(texts)[0]
    assert await pool.aget_text_embedding(texts[0]) == served_vectors(texts)[0]
    assert pool.router.status().targets[0].failures >= 3


@pytest.fixture
def nested(servers: Servers) -> Iterator[FailoverEmbedding]:
    """A pool of two pools, of one server each."""
    inner = [FailoverEmbedding.from_urls(server.url, model="m") for server in servers]
    outer = FailoverEmbedding(targets=inner, embed_batch_size=10)
    yield outer
    for pool in (*inner, outer):
        pool.router.close()


@pytest.mark.parametrize("door", ["sync", "async"])
def test_a_pool_of_pools_fails_over_though_a_batch_of_one_of_them_failed(
    door: str, nested: FailoverEmbedding, servers: Servers
) -> None:
    servers[0].stop()
    assert batched(nested, MANY[:100], door) == served_vectors(MANY[:100])


@pytest.mark.parametrize("door", ["sync", "async"])
def test_a_pool_of_pools_reports_no_vector_that_it_refused(
    door: str, nested: FailoverEmbedding, servers: Servers
) -> None:
    batched(nested, MANY[:100], door)
    servers[0].stop()
    servers[1].fault = OtherModel()
    with pytest.raises(EmbeddingSpaceMismatchError):
        batched(nested, MANY[:100], door)


def batched(pool: FailoverEmbedding, texts: list[str], door: str) -> list[list[float]]:
    if door == "sync":
        return pool.get_text_embedding_batch(texts)
    return asyncio.run(pool.aget_text_embedding_batch(texts))


def test_the_batch_size_can_be_changed_later(servers: Servers) -> None:
    pool = FailoverEmbedding.from_urls(servers[0].url, model="m", embed_batch_size=10)

    pool.embed_batch_size = 100
    assert pool.get_text_embedding_batch(MANY) == served_vectors(MANY)
    pool.router.close()

    # The canary takes requests of its own beside full ones, here until a connection is known.
    assert len([one for one in servers[0].requests if one.body["input"] != [CANARY]]) == 11


def test_one_batch_of_llama_index_goes_to_all_servers_at_once(servers: Servers) -> None:
    for server in servers:
        server.latency = 0.05
    pool = FailoverEmbedding.from_urls([server.url for server in servers], model="m")
    assert pool.get_text_embedding_batch(MANY) == served_vectors(MANY)
    pool.router.close()

    assert all(any(len(one.body["input"]) > 1 for one in server.requests) for server in servers)


def test_the_first_targets_number_of_workers_is_taken_over() -> None:
    children: list[BaseEmbedding] = [Scripted(num_workers=3, embed_batch_size=7), Scripted()]

    pool = FailoverEmbedding(targets=children)

    assert (pool.num_workers, pool.embed_batch_size) == (3, 7)
    assert FailoverEmbedding(targets=children, num_workers=None).num_workers is None
