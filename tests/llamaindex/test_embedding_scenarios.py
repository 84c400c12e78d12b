"""What LlamaIndex's own tests ask of an embedding, asked of a pool: healthy, and with a dead first.

Each scenario runs over embeddings without a server, a vendor's embedding over HTTP, and URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from llama_index.core import Document, MockEmbedding, Settings, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding, SimilarityMode
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SemanticSplitterNodeParser
from llama_index.core.query_engine import TransformQueryEngine
from llama_index.core.storage.kvstore import SimpleKVStore

from failover_core.testing import FaultServer
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import (
    TEXTS,
    Scripted,
    over_http,
    sent_to,
    served_vectors,
)
from tests.llamaindex.listening import Heard
from tests.llamaindex.spans import tracing

Servers = tuple[FaultServer, FaultServer]


@dataclass
class Case:
    """A pool, and what it stands for.

    Attributes:
        build: makes the pool, from further settings.
        bare: its last target alone.
        vectors: what texts must be embedded to.
        asked: how often each of some texts was sent so far.
    """

    build: Callable[..., FailoverEmbedding]
    bare: BaseEmbedding
    vectors: Callable[[list[str]], list[list[float]]]
    asked: Callable[[list[str]], int]


def scripted_case(is_dead: bool) -> Case:  # noqa: FBT001 - one of two cases
    children = [Scripted(is_down=is_dead), Scripted()]

    def asked(texts: list[str]) -> int:
        return sum(text in texts for batch in children[1].batches for text in batch)

    def build(**options: Any) -> FailoverEmbedding:
        return FailoverEmbedding(targets=children if is_dead else children[1:], **options)

    return Case(build, children[1], Scripted().answer, asked)


@pytest.fixture(params=["scripted", "http", "urls"])
def case(request: pytest.FixtureRequest, pair: Servers) -> Iterator[Case]:
    """A pool of each kind, with a dead first target in half of the tests."""
    pools = []
    if request.param == "scripted":
        yield scripted_case(is_dead="dead" in request.node.callspec.id)
        return

    def build(**options: Any) -> FailoverEmbedding:
        if request.param == "http":
            pool = FailoverEmbedding(targets=[over_http(server) for server in pair], **options)
        else:
            urls = [server.url for server in pair]
            pool = FailoverEmbedding.from_urls(urls, model="m", **options)
        pools.append(pool)
        return pool

    def asked(texts: list[str]) -> int:
        return sent_to(*pair, among=texts).total()

    yield Case(build, over_http(pair[1]), served_vectors, asked)
    for pool in pools:
        pool.router.close()


async def test_repeated_texts_come_back_in_their_places(case: Case) -> None:
    texts = [*[TEXTS[0]] * 8, *[TEXTS[1]] * 8, *[TEXTS[2]] * 4, TEXTS[3], TEXTS[0]]
    pool = case.build(embed_batch_size=10)

    assert pool.get_text_embedding_batch(texts) == case.vectors(texts)
    assert await pool.aget_text_embedding_batch(texts) == case.vectors(texts)


async def test_queries_are_averaged(case: Case) -> None:
    pool = case.build()
    wanted = np.mean([case.bare.get_query_embedding(text) for text in TEXTS[:2]], axis=0)

    assert np.allclose(pool.get_agg_embedding_from_queries(TEXTS[:2]), wanted)
    assert np.allclose(await pool.aget_agg_embedding_from_queries(TEXTS[:2]), wanted)


def test_similarities_are_those_of_the_base_class(case: Case) -> None:
    pool = case.build()

    assert pool.similarity([0.0, 1.0, 0.0], [3.0, 4.0, 0.0]) == 0.8
    assert pool.similarity([1.0, 0.0], [0.0, 1.0], mode=SimilarityMode.EUCLIDEAN) < pool.similarity(
        [1.0, 0.0], [1.0, 1.0], mode=SimilarityMode.EUCLIDEAN
    )


async def test_each_event_tells_of_its_texts_and_vectors_once(case: Case, heard: Heard) -> None:
    pool = case.build(embed_batch_size=3)

    pool.get_text_embedding_batch(TEXTS)
    await pool.aget_text_embedding_batch(TEXTS)
    pool.get_text_embedding(TEXTS[0])
    await pool.aget_query_embedding(TEXTS[0])

    ends = [event for event in heard.events if event.class_name() == "EmbeddingEndEvent"]
    batches = [TEXTS[:3], TEXTS[3:6], TEXTS[6:]]
    assert [event.chunks for event in ends] == [*batches, *batches, TEXTS[:1], TEXTS[:1]]
    assert all(event.embeddings == case.vectors(event.chunks) for event in ends[:-1])
    assert heard.counts("EmbeddingStartEvent") == {"EmbeddingStartEvent": 8}
    starts = [event for event in heard.events if event.class_name() == "EmbeddingStartEvent"]
    assert {event.model_dict["class_name"] for event in starts} == {"FailoverEmbedding"}


async def test_it_has_the_spans_of_the_public_methods_and_none_behind_them(case: Case) -> None:
    pool = case.build(verify="declared")

    with tracing() as spans:
        pool.get_text_embedding_batch(TEXTS)
        await pool.aget_text_embedding_batch(TEXTS)
        pool.get_text_embedding(TEXTS[0])
        await pool.aget_query_embedding(TEXTS[0])

    public = ["get_text_embedding_batch", "aget_text_embedding_batch"]
    public += ["get_text_embedding", "aget_query_embedding"]
    own = [span for span in spans.entered if span.startswith("FailoverEmbedding.")]
    assert own == [f"FailoverEmbedding.{name}" for name in public]


async def test_tokens_are_counted_once(case: Case) -> None:
    counted = []
    for model in (case.bare, case.build()):
        counter = TokenCountingHandler()
        model.callback_manager = CallbackManager([counter])
        model.get_text_embedding_batch(TEXTS)
        await model.aget_text_embedding_batch(TEXTS)
        model.get_query_embedding(TEXTS[0])
        counted.append((counter.total_embedding_token_count, len(counter.embedding_token_counts)))

    assert counted[0] == counted[1]
    assert counted[0][0] > 0


async def test_what_is_in_the_cache_is_not_asked_for_again(case: Case) -> None:
    pool = case.build(embeddings_cache=SimpleKVStore())
    other = case.build(embeddings_cache=SimpleKVStore())
    wanted = case.vectors(TEXTS)

    assert pool.get_text_embedding(TEXTS[0]) == wanted[0]
    assert await other.aget_text_embedding(TEXTS[0]) == wanted[0]
    for cached in (pool, other):
        kept = cached.embeddings_cache.get(key=TEXTS[0], collection="embeddings")
        assert list(kept.values()) == [wanted[0]]
    before = case.asked(TEXTS[1:]), case.asked(TEXTS[:1])
    assert pool.get_text_embedding_batch(TEXTS) == wanted
    assert await other.aget_text_embedding_batch(TEXTS) == wanted
    assert pool.get_text_embedding_batch(TEXTS) == wanted
    assert await other.aget_text_embedding_batch(TEXTS) == wanted

    # A dead server keeps no record of what it was asked.
    assert (case.asked(TEXTS[1:]) - before[0], case.asked(TEXTS[:1]) - before[1]) == (12, 0)


async def test_an_index_over_it_retrieves_what_one_over_the_bare_embedding_does(
    case: Case, heard: Heard
) -> None:
    documents = [Document(text=text, id_=text) for text in TEXTS]
    found, counts = [], []
    for model in (case.bare, case.build()):
        heard.events.clear()
        index = VectorStoreIndex.from_documents(documents, embed_model=model)
        retriever = index.as_retriever(similarity_top_k=3)
        engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=2)
        nodes = retriever.retrieve(TEXTS[4]) + await retriever.aretrieve(TEXTS[2])
        answers = [engine.query(TEXTS[1]), await engine.aquery(TEXTS[1])]
        found.append([node.text for node in nodes] + [str(answer) for answer in answers])
        counts.append(heard.counts())
        counts[-1].pop("SpanDropEvent", None)  # of the attempts that failed

    assert found[0] == found[1]
    assert counts[0] == counts[1]


def test_what_else_takes_an_embedding_takes_the_pool(case: Case) -> None:
    pool = case.build()
    document = Document(text=" ".join(TEXTS))
    splitter = SemanticSplitterNodeParser(embed_model=pool, buffer_size=1)

    assert " ".join(TEXTS) in "".join(
        node.get_content() for node in splitter.get_nodes_from_documents([document])
    )
    engine = VectorStoreIndex([], embed_model=pool).as_query_engine(llm=MockLLM())
    assert TransformQueryEngine(engine, HyDEQueryTransform(llm=MockLLM())).query("Who?") is not None


def test_settings_use_it_and_hand_it_their_callbacks(case: Case) -> None:
    before = Settings._embed_model, Settings._callback_manager
    counter = TokenCountingHandler()
    try:
        Settings.callback_manager = CallbackManager([counter])
        Settings.embed_model = pool = case.build()
        index = VectorStoreIndex.from_documents([Document(text=text) for text in TEXTS])
        assert len(index.as_retriever(similarity_top_k=2).retrieve("boat")) == 2
        assert Settings.embed_model is pool
        assert counter.total_embedding_token_count > 0
    finally:
        Settings._embed_model, Settings._callback_manager = before


def test_a_mock_of_llamaindex_serves_as_a_target() -> None:
    pool = FailoverEmbedding(targets=[Scripted(is_down=True), MockEmbedding(8)])

    assert pool.get_text_embedding_batch(TEXTS) == [[0.5] * 8] * len(TEXTS)
    assert pool.get_query_embedding("Who?") == [0.5] * 8
