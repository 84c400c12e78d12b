"""Wrapped rerankers: what they may do to nodes, and what is refused with the remedy."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from llama_index.core.postprocessor import LLMRerank
from llama_index.core.postprocessor.rankGPT_rerank import RankGPTRerank
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import (
    IndexNode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)

from failover_core import AllTargetsFailedError, ConfigurationError, MalformedResponseError, Target
from failover_core.errors import ErrorClass
from failover_core.testing import FaultServer
from failover_core.testing.faults import Status
from llamaindex_failover import FailoverLLM, FailoverRerank
from llamaindex_failover.url_llm import llms_from_urls
from tests.llamaindex.listening import tallied

Nodes = list[NodeWithScore]
Servers = tuple[FaultServer, FaultServer]

TEXTS = ["one", "three", "fifteen"]
BEST_FIRST = TEXTS[::-1]


def nodes_of(*texts: str, score: float | None = 0.5) -> Nodes:
    return [NodeWithScore(node=TextNode(text=text, id_=text), score=score) for text in texts]


def texts_of(nodes: Nodes) -> list[str]:
    return [node.get_content() for node in nodes]


class Doing(BaseNodePostprocessor):
    """A reranker that does what it is told to the nodes it gets."""

    act: Any
    top_n: int = 9

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        answer: Nodes = self.act(nodes)
        return answer


class Native(Doing):
    """The same, without a thread for its async door."""

    async def _apostprocess_nodes(
        self, nodes: Nodes, query_bundle: QueryBundle | None = None
    ) -> Nodes:
        return self._postprocess_nodes(nodes, query_bundle)


def by_length(nodes: Nodes) -> Nodes:
    for node in nodes:
        node.score = float(len(node.get_content()))
    return nodes


def scored(score: Any) -> Any:
    def act(nodes: Nodes) -> Nodes:
        for node in nodes:
            node.score = score
        return nodes

    return act


WRONG = {
    "foreign nodes": (lambda nodes: [*nodes, *nodes_of("foreign")], "'foreign' twice, or without"),
    "a node twice": (lambda nodes: [*nodes, nodes[0]], "'one' twice"),
    "too many": (lambda nodes: nodes * 2, "'one' twice"),
    "replaced nodes": (lambda nodes: nodes_of("summary"), "'summary' twice, or without"),
    "NaN": (scored(float("nan")), "not finite"),
    "infinity": (scored(float("inf")), "not finite"),
    "a word for a score": (scored("good"), "no number"),
    "nothing": (lambda nodes: None, "NoneType, not with a list of NodeWithScore"),
    "bare nodes": (lambda nodes: [node.node for node in nodes], "not with a list of NodeWithScore"),
}


@pytest.mark.parametrize(("act", "complaint"), WRONG.values(), ids=WRONG)
async def test_an_impossible_answer_is_its_targets_failure(act: Any, complaint: str) -> None:
    pool = FailoverRerank(
        targets=[Target(Native(act=act), name="odd"), Target(Native(act=by_length), name="sound")]
    )

    for ranked in (
        pool.postprocess_nodes(nodes_of(*TEXTS), query_str="q"),
        await pool.apostprocess_nodes(nodes_of(*TEXTS), query_str="q"),
    ):
        report = ranked[0].metadata["failover"]
        assert texts_of(ranked) == BEST_FIRST
        assert report["target"] == "sound"
        assert report["errors"] == [{"target": "odd", "error_class": ErrorClass.MALFORMED}]


@pytest.mark.parametrize(("act", "complaint"), WRONG.values(), ids=WRONG)
def test_the_error_names_the_target_and_what_it_did(act: Any, complaint: str) -> None:
    pool = FailoverRerank(targets=[Target(Doing(act=act), name="odd")])

    with pytest.raises(AllTargetsFailedError) as raised:
        pool.postprocess_nodes(nodes_of(*TEXTS), query_str="q")

    (error,) = raised.value.exceptions
    assert isinstance(error, MalformedResponseError)
    assert complaint in str(error)
    assert "odd" in "".join(error.__notes__)


def test_what_adds_or_replaces_nodes_is_told_where_it_belongs() -> None:
    pool = FailoverRerank(targets=[Doing(act=lambda nodes: nodes_of("summary"))])

    with pytest.raises(AllTargetsFailedError) as raised:
        pool.postprocess_nodes(nodes_of(*TEXTS), query_str="q")

    assert "belongs beside a FailoverRerank, in node_postprocessors" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("nodes", "query", "complaint"),
    [
        (nodes_of("a"), None, "there is no query"),
        (nodes_of("a"), "a text", "there is no query"),
        ([TextNode(text="a")], QueryBundle("q"), r"nodes\[0\] is TextNode; wrap it"),
    ],
)
async def test_bad_input_is_refused_before_any_target_is_blamed(
    nodes: Any, query: Any, complaint: str
) -> None:
    pool = FailoverRerank(targets=[Native(act=by_length)])

    with pytest.raises(ConfigurationError, match=complaint):
        pool.postprocess_nodes(nodes, query)
    with pytest.raises(ConfigurationError, match=complaint):
        await pool.apostprocess_nodes(nodes, query)
    assert pool.router.status().targets[0].requests == 0


async def test_async_needs_no_thread_if_the_reranker_needs_none() -> None:
    def act(nodes: Nodes) -> Nodes:
        threads.append(threading.get_ident())
        return by_length(nodes)

    threads: list[int] = []
    await FailoverRerank(targets=[Native(act=act)]).apostprocess_nodes(nodes_of("a"), query_str="q")

    assert threads == [threading.get_ident()]


async def test_the_callers_nodes_stay_as_they_are_whatever_is_written_into_the_copies() -> None:
    def spoil(nodes: Nodes) -> Nodes:
        for node in nodes:
            inner: Any = node.node
            inner.metadata["tags"].append("read")
            inner.metadata["source"]["page"] = 99
            inner.excluded_llm_metadata_keys.append("source")
            inner.relationships.clear()
            inner.embedding[0] = 99.0
            inner.set_content("spoiled")
        nodes.pop()
        raise ConnectionError

    def node(text: str) -> NodeWithScore:
        other = RelatedNodeInfo(node_id="other")
        inner = TextNode(
            text=text,
            id_=text,
            metadata={"tags": ["new"], "source": {"page": 1}},
            relationships={NodeRelationship.NEXT: other},
            embedding=[1.0, 2.0],
        )
        return NodeWithScore(node=inner, score=0.5)

    nodes = [node(text) for text in TEXTS]
    before = [one.model_copy(deep=True) for one in nodes]
    pool = FailoverRerank(targets=[Native(act=spoil), Native(act=by_length)])

    ranked = pool.postprocess_nodes(nodes, query_str="q")
    ranked += await pool.apostprocess_nodes(nodes, query_str="q")
    for one in ranked:
        one.metadata["tags"].append("mine")

    assert nodes == before
    assert texts_of(ranked) == BEST_FIRST * 2


def test_what_a_node_stands_for_is_not_copied() -> None:
    class Uncopyable:
        def __deepcopy__(self, _: Any) -> Any:
            raise TypeError

    engine = Uncopyable()
    node = IndexNode(text="see there", index_id="there", obj=engine)

    (ranked,) = FailoverRerank(targets=[Doing(act=by_length)]).postprocess_nodes(
        [NodeWithScore(node=node, score=1.0)], query_str="q"
    )

    assert isinstance(ranked.node, IndexNode)
    assert ranked.node.obj is engine


def test_what_a_reranker_writes_into_its_nodes_is_in_the_answer() -> None:
    def act(nodes: Nodes) -> Nodes:
        for node in nodes:
            node.node.metadata["retrieval_score"] = node.score
        return by_length(nodes)

    ranked = FailoverRerank(targets=[Doing(act=act)]).postprocess_nodes(
        nodes_of("a", score=0.25), query_str="q"
    )

    assert ranked[0].metadata["retrieval_score"] == 0.25


def test_rebuilt_nodes_are_known_by_their_ids() -> None:
    def act(nodes: Nodes) -> Nodes:
        return by_length([node.model_copy(deep=True) for node in nodes])

    ranked = FailoverRerank(targets=[Doing(act=act)]).postprocess_nodes(
        nodes_of(*TEXTS), query_str="q"
    )

    assert texts_of(ranked) == BEST_FIRST


def test_a_reranker_may_leave_nodes_out() -> None:
    pool = FailoverRerank(targets=[Doing(act=lambda nodes: by_length(nodes)[1:])])

    assert texts_of(pool.postprocess_nodes(nodes_of(*TEXTS), query_str="q")) == BEST_FIRST[:2]


@pytest.mark.parametrize("score", [None, 0.5])
def test_where_a_reranker_gives_no_scores_its_order_counts(score: float | None) -> None:
    nodes = nodes_of(*TEXTS, score=score)
    if score:
        nodes[2].score = 0.1

    pool = FailoverRerank(targets=[Doing(act=lambda nodes: nodes[::-1])])
    ranked = pool.postprocess_nodes(nodes, query_str="q")

    assert texts_of(ranked) == BEST_FIRST
    assert [node.score for node in ranked] == [1, 1 / 2, 1 / 3]


def test_scores_that_the_nodes_came_with_are_kept_if_the_order_is_theirs() -> None:
    pool = FailoverRerank(targets=[Doing(act=lambda nodes: nodes[:2])])

    ranked = pool.postprocess_nodes(nodes_of(*TEXTS, score=0.7), query_str="q")

    assert [node.score for node in ranked] == [0.7, 0.7]


def test_the_pools_top_n_and_threshold_may_be_changed_later() -> None:
    pool = FailoverRerank(targets=[Doing(act=by_length)])
    nodes = nodes_of(*TEXTS)

    pool.top_n = 2
    assert texts_of(pool.postprocess_nodes(nodes, query_str="q")) == BEST_FIRST[:2]
    pool.score_threshold = 6.0
    assert texts_of(pool.postprocess_nodes(nodes, query_str="q")) == BEST_FIRST[:1]
    pool.top_n = 0
    with pytest.raises(ConfigurationError, match="top_n is 0"):
        pool.postprocess_nodes(nodes, query_str="q")


def test_each_attempt_has_a_query_of_its_own() -> None:
    queries: list[QueryBundle] = []

    class Embedding(Doing):
        def _postprocess_nodes(
            self, nodes: Nodes, query_bundle: QueryBundle | None = None
        ) -> Nodes:
            assert query_bundle is not None
            queries.append(QueryBundle(**vars(query_bundle)))
            query_bundle.embedding = [1.0]
            return super()._postprocess_nodes(nodes, query_bundle)

    def fail(nodes: Nodes) -> Nodes:
        raise ConnectionError

    query = QueryBundle("q", custom_embedding_strs=["hounds"], embedding=[9.0])
    FailoverRerank(targets=[Embedding(act=fail), Embedding(act=by_length)]).postprocess_nodes(
        nodes_of("a"), query
    )

    assert query.embedding == [9.0]
    assert [(one.embedding, one.custom_embedding_strs) for one in queries] == [
        (None, ["hounds"])
    ] * 2


async def test_requests_to_servers_are_reported_to_the_callback_manager_too(
    servers: Servers,
) -> None:
    tally, manager = tallied()
    servers[0].fault = Status(500)
    pool = FailoverRerank.from_urls([server.url for server in servers], model="m")
    pool.callback_manager = manager

    pool.postprocess_nodes(nodes_of(*TEXTS), query_str="q")
    await pool.apostprocess_nodes(nodes_of(*TEXTS), query_str="q")
    pool.router.close()

    assert tally.starts["reranking"] == sum(tally.ends[one] for one in ("reranking", "failed"))
    assert tally.ends["reranking"] >= 2


# Rerankers of LlamaIndex that ask an LLM


@pytest.fixture
def llm(pair: Servers, llm_over: Any) -> FailoverLLM:
    built: FailoverLLM = llm_over(pair)
    return built


async def test_an_llm_reranker_ranks_alike_bare_and_pooled(pair: Servers, llm: FailoverLLM) -> None:
    def parse(answer: str, count: int) -> tuple[list[int], list[float]]:
        return list(range(1, count + 1)), [float(number) for number in range(count)]

    (child,) = llms_from_urls(pair[1].url + "/v1", model="m")
    bare, inside = (
        LLMRerank(llm=one, choice_batch_size=2, top_n=2, parse_choice_select_answer_fn=parse)
        for one in (child, llm)
    )
    pool = FailoverRerank(targets=[inside, bare])

    expected = bare.postprocess_nodes(nodes_of(*TEXTS), query_str="q")
    ranked = pool.postprocess_nodes(nodes_of(*TEXTS), query_str="q")
    asynchronous = await pool.apostprocess_nodes(nodes_of(*TEXTS), query_str="q")

    for answer in (ranked, asynchronous):
        assert texts_of(answer) == texts_of(expected)
        assert [node.score for node in answer] == [node.score for node in expected]
    assert pool.top_n == 2


async def test_a_reranker_that_only_sorts_keeps_its_order(
    pair: Servers, llm: FailoverLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RankGPTRerank, "_receive_permutation", lambda *_: [2, 0, 1])
    bare = RankGPTRerank(llm=llm, top_n=2)
    pool = FailoverRerank(targets=[RankGPTRerank(llm=llm, top_n=2)])
    nodes = [
        NodeWithScore(node=TextNode(text=text), score=score)
        for text, score in zip(TEXTS, (0.9, 0.8, 0.7), strict=True)
    ]

    expected = texts_of(bare.postprocess_nodes(nodes, query_str="q"))

    assert texts_of(pool.postprocess_nodes(nodes, query_str="q")) == expected
    assert texts_of(await pool.apostprocess_nodes(nodes, query_str="q")) == expected
