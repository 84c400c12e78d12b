"""The embedding: exact vectors from whoever serves, one pair of events, no foreign space."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    instrument_tags,
)

from failover_core import AllTargetsFailedError, ConfigurationError, SpaceMismatchError, Target
from failover_core.clients import InfinityClient
from failover_core.testing import FaultServer
from failover_core.testing.faults import NotFinite, RetryAfter, Shuffled, Status, WrongCount
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.listening import Heard, tallied

Servers = tuple[FaultServer, FaultServer]
MakeEmbedding = Callable[..., FailoverEmbedding]

TEXTS = [f"The boat number {number} sails at dawn." for number in range(7)]


class OfLength(BaseEmbedding):
    """An embedding of one text at a time: its length, and whether it is a query."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return [len(query) + 0.1, 1.0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return [len(text) + 0.1, 0.0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embedding(text)


class Failing(OfLength):
    """An embedding whose server is away."""

    def _get_query_embedding(self, query: str) -> list[float]:
        raise ConnectionError

    def _get_text_embedding(self, text: str) -> list[float]:
        raise ConnectionError


@pytest.fixture
def embedding_over() -> Iterator[MakeEmbedding]:
    """Make embeddings over servers, whose connections are closed after the test."""
    with ExitStack() as stack:

        def build(servers: Servers | list[FaultServer], **options: Any) -> FailoverEmbedding:
            urls = [server.url for server in servers]
            embedding = FailoverEmbedding.from_urls(urls, **({"model": "m"} | options))
            stack.callback(embedding.router.close)
            return embedding

        yield build


async def test_every_door_gives_the_vectors_of_the_server(
    pair: Servers, embedding_over: MakeEmbedding
) -> None:
    embedding = embedding_over(pair, embed_batch_size=2)
    client = InfinityClient(pair[1].url, model="m")
    expected = client.embed(TEXTS, "passage").tolist()  # type: ignore[arg-type]
    client.close()

    assert embedding.get_text_embedding_batch(TEXTS) == expected
    assert await embedding.aget_text_embedding_batch(TEXTS) == expected
    assert embedding.get_text_embedding(TEXTS[0]) == expected[0]
    assert await embedding.aget_text_embedding(TEXTS[0]) == expected[0]
    assert embedding.get_query_embedding(TEXTS[0]) == expected[0]
    assert await embedding.aget_query_embedding(TEXTS[0]) == expected[0]
    await embedding.router.aclose()


@pytest.mark.parametrize("first", [OfLength, Failing])
async def test_a_wrapped_embeddings_floats_come_out_exactly(first: type[BaseEmbedding]) -> None:
    embedding = FailoverEmbedding(targets=[first(), OfLength()])

    assert embedding.get_text_embedding_batch(["a", "bc"]) == [[1.1, 0.0], [2.1, 0.0]]
    assert await embedding.aget_text_embedding_batch(["a", "bc"]) == [[1.1, 0.0], [2.1, 0.0]]
    assert embedding.get_query_embedding("a") == [1.1, 1.0]
    assert await embedding.aget_query_embedding("a") == [1.1, 1.0]


def test_no_texts_are_no_request(servers: Servers, embedding_over: MakeEmbedding) -> None:
    assert embedding_over(servers).get_text_embedding_batch([]) == []
    assert not servers[0].requests


@pytest.mark.parametrize("fault", [Status(500), RetryAfter(1), WrongCount(), NotFinite()])
def test_an_answer_that_is_no_vector_per_text_is_never_used(
    servers: Servers, embedding_over: MakeEmbedding, fault: Any
) -> None:
    expected = embedding_over(servers).get_text_embedding_batch(TEXTS)
    servers[0].fault = fault

    assert embedding_over(servers).get_text_embedding_batch(TEXTS) == expected


def test_vectors_follow_their_index(servers: Servers, embedding_over: MakeEmbedding) -> None:
    expected = embedding_over(servers).get_text_embedding_batch(TEXTS)
    servers[0].fault = Shuffled()

    assert embedding_over(servers).get_text_embedding_batch(TEXTS) == expected


def test_a_failed_batch_alone_moves_on(servers: Servers, embedding_over: MakeEmbedding) -> None:
    embedding = embedding_over(servers, embed_batch_size=2, verify="declared")
    servers[0].script([None, Status(500), None, None])

    embedding.get_text_embedding_batch(TEXTS)

    assert len(servers[0].requests) == 4
    assert [request.body["input"] for request in servers[1].requests] == [TEXTS[2:4]]


def test_an_answer_of_another_dimension_is_refused() -> None:
    embedding = FailoverEmbedding(targets=[OfLength()], dimension=4)

    with pytest.raises(AllTargetsFailedError) as raised:
        embedding.get_text_embedding("a")

    assert isinstance(raised.value.exceptions[0], SpaceMismatchError)


def test_targets_of_different_models_are_refused_unless_one_is_declared() -> None:
    targets = [MockEmbedding(8, model_name="a"), MockEmbedding(8, model_name="b")]

    with pytest.raises(ConfigurationError, match="different embedding models"):
        FailoverEmbedding(targets=targets)

    assert FailoverEmbedding(targets=targets, model_name="a").model_name == "a"
    assert len(FailoverEmbedding(targets=targets, verify="off").router.targets) == 2


def test_urls_as_targets_need_a_model(servers: Servers) -> None:
    urls = [server.url for server in servers]

    with pytest.raises(ConfigurationError, match="model"):
        FailoverEmbedding(targets=urls)

    embedding = FailoverEmbedding(targets=[", ".join(urls)], model_name="m")
    assert len(embedding.router.targets) == 2


@pytest.mark.parametrize("size", [2, 10])
async def test_events_are_those_of_the_bare_embedding(heard: Heard, size: int) -> None:
    counts = []
    bare = OfLength(embed_batch_size=size)
    for model in (bare, FailoverEmbedding(targets=[Failing(), bare])):
        tally, model.callback_manager = tallied()
        heard.events.clear()
        model.get_text_embedding_batch(TEXTS)
        await model.aget_text_embedding_batch(TEXTS)
        model.get_query_embedding("a")
        pairs = heard.counts("EmbeddingStartEvent", "EmbeddingEndEvent")
        counts.append((pairs, tally.starts, tally.ends))

    assert counts[0] == counts[1]


def test_settings_take_it(servers: Servers, embedding_over: MakeEmbedding) -> None:
    before = Settings._embed_model
    Settings.embed_model = embedding = embedding_over(servers)

    assert Settings.embed_model is embedding
    Settings._embed_model = before


def dump(embedding: FailoverEmbedding) -> str:
    return str(embedding.to_dict())


def test_the_dump_identifies_the_space_and_nothing_else(servers: Servers) -> None:
    def over(*indices: int, model: str = "m", **options: Any) -> str:
        urls = [servers[index].url for index in indices]
        return dump(FailoverEmbedding.from_urls(urls, model=model, **options))

    assert over(0, 1) == over(1, 0) == over(0, api_key="another", timeout=9.0)
    assert over(0) != over(0, model="n")
    assert over(0) != over(0, dimension=8)
    small, large = (FailoverEmbedding(targets=[MockEmbedding(size)]) for size in (8, 16))
    assert dump(small) != dump(large)


def test_the_ingestion_cache_never_gives_one_model_the_vectors_of_another() -> None:
    cache = IngestionCache()
    documents = [Document(text=text, id_=text) for text in TEXTS]

    def embedded(targets: list[Any]) -> list[Any]:
        model = FailoverEmbedding(targets=targets)
        nodes = IngestionPipeline(transformations=[model], cache=cache).run(documents=documents)
        return [node.embedding for node in nodes]

    one = embedded([OfLength(model_name="a")])
    other = embedded([MockEmbedding(2, model_name="b")])
    again = embedded([Failing(model_name="a")])

    assert other == [[0.5, 0.5]] * len(TEXTS)
    assert again == one


class Limiter:
    """Counts how often it is asked."""

    asked = 0

    def acquire(self) -> None:
        self.asked += 1

    async def async_acquire(self) -> None:
        self.asked += 1


async def test_a_wrapped_embeddings_rate_limiter_is_asked() -> None:
    limiter = Limiter()
    child = Target(OfLength(rate_limiter=limiter), name="limited")
    embedding = FailoverEmbedding(targets=[child])

    embedding.get_text_embedding_batch(TEXTS)
    await embedding.aget_text_embedding_batch(TEXTS)

    assert limiter.asked == 2


def test_it_works_in_loop_after_loop(pair: Servers, embedding_over: MakeEmbedding) -> None:
    embedding = embedding_over(pair)

    for _ in range(3):
        assert len(asyncio.run(embedding.aget_text_embedding_batch(TEXTS))) == len(TEXTS)


async def test_questions_of_one_moment_share_a_request_only_with_those_of_the_same_choice(
    embedding_over: MakeEmbedding, servers: Servers
) -> None:
    embedding = embedding_over(servers, verify="off")
    names = [str(target.name) for target in embedding.router.targets]
    chosen = [(f"question {number}", names[number % 2]) for number in range(20)]

    async def ask(text: str, name: str) -> None:
        with instrument_tags({"failover": name}):
            await embedding.aget_query_embedding(text)

    await asyncio.gather(*(ask(text, name) for text, name in chosen))

    for server, name in zip(servers, names, strict=True):
        sent = [text for request in server.requests for text in request.body["input"]]
        assert sorted(sent) == sorted(text for text, wanted in chosen if wanted == name)
        assert len(server.requests) < len(sent)
