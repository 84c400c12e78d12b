"""The retriever: each attempt gets a query of its own, and one pair of events comes out."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, TextNode

from failover_core import AllTargetsFailedError, ConfigurationError, Target
from llamaindex_failover import FailoverRetriever
from tests.llamaindex.listening import Heard, tallied

TEXTS = ["Cats purr.", "Dogs bark."]


class Remembering(BaseRetriever):
    """A retriever that keeps the queries it gets, and writes its vector into them."""

    def __init__(self, error: Exception | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.error = error
        self.queries: list[QueryBundle] = []

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.queries.append(copy.copy(query_bundle))
        query_bundle.embedding = [1.0, 2.0]
        if self.error:
            raise self.error
        return [NodeWithScore(node=TextNode(text=text, id_=text), score=1.0) for text in TEXTS]


def test_the_next_retriever_answers_when_the_first_fails() -> None:
    retriever = FailoverRetriever([Remembering(ConnectionError()), Remembering()])

    assert [node.get_content() for node in retriever.retrieve("dogs")] == TEXTS


async def test_both_doors_retrieve_alike_from_a_real_index() -> None:
    index = VectorStoreIndex([TextNode(text=t) for t in TEXTS], embed_model=MockEmbedding(4))
    retriever = FailoverRetriever([Remembering(ConnectionError()), index.as_retriever()])

    found = retriever.retrieve("dogs")
    asynchronous = await retriever.aretrieve("dogs")

    assert {node.get_content() for node in found} == set(TEXTS)
    assert [node.node_id for node in found] == [node.node_id for node in asynchronous]


async def test_no_retriever_gets_the_query_vector_of_another() -> None:
    first, second = Remembering(ConnectionError()), Remembering()
    retriever = FailoverRetriever([first, second])
    query = QueryBundle("dogs", custom_embedding_strs=["dogs", "hounds"], embedding=[9.0])

    retriever.retrieve(query)
    await retriever.aretrieve(query)

    assert query.embedding == [9.0]
    for asked in (*first.queries, *second.queries):
        assert asked.embedding is None
        assert asked.custom_embedding_strs == ["dogs", "hounds"]


def test_a_query_that_is_nothing_but_a_vector_keeps_it() -> None:
    child = Remembering()

    FailoverRetriever([child]).retrieve(QueryBundle("", embedding=[9.0]))

    assert child.queries[0].embedding == [9.0]


async def test_events_are_those_of_the_bare_retriever(heard: Heard) -> None:
    counts = []
    for wrap in (lambda child: child, lambda child: FailoverRetriever([child])):
        tally, manager = tallied()
        retriever = wrap(Remembering(callback_manager=manager))
        heard.events.clear()
        retriever.retrieve("dogs")
        await retriever.aretrieve("dogs")
        counts.append((heard.counts(), tally.starts, tally.ends))

    assert counts[0] == counts[1]


def test_index_nodes_lead_to_the_objects_of_their_retriever() -> None:
    hidden = IndexNode(text="see there", index_id="there")

    class Pointing(Remembering):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            return [NodeWithScore(node=hidden, score=1.0)]

    child = Pointing(object_map={"there": TextNode(text="found")})

    assert FailoverRetriever([child]).retrieve("q")[0].get_content() == "found"


def test_when_all_fail_the_error_holds_each_of_theirs() -> None:
    retriever = FailoverRetriever([Remembering(ConnectionError()), Remembering(OSError())])

    with pytest.raises(AllTargetsFailedError) as raised:
        retriever.retrieve("dogs")

    assert [type(error) for error in raised.value.exceptions] == [ConnectionError, OSError]


def test_an_object_that_is_no_retriever_is_refused_with_the_remedy() -> None:
    index = VectorStoreIndex([], embed_model=MockEmbedding(4))

    with pytest.raises(ConfigurationError, match=r"targets\[1\] .* VectorStoreIndex; give a ret"):
        FailoverRetriever([Remembering(), index])


def test_copies_and_pickles_have_a_router_of_their_own() -> None:
    retriever = FailoverRetriever(
        [Target(Remembering(), name="one"), Remembering()],
        policy={"attempt_timeout": 5.0},
        callback_manager=CallbackManager([]),
        verbose=True,
    )

    for twin in (copy.deepcopy(retriever), pickle.loads(pickle.dumps(retriever))):  # noqa: S301
        assert [node.get_content() for node in twin.retrieve("dogs")] == TEXTS
        assert twin.router is not retriever.router
        assert twin.router.policy.attempt_timeout == 5.0
        assert [target.name for target in twin.router.targets] == ["one", "Remembering"]
