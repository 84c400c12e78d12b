"""The reranker: one order, one cut and one pair of events, whoever serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor import TimeWeightedPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from failover_core import AllTargetsFailedError, ConfigurationError, MalformedResponseError
from failover_core.testing import FaultServer
from failover_core.testing.faults import DuplicateIndex, IndexOutOfRange, NotFinite, Status
from llamaindex_failover import FailoverRerank
from tests.llamaindex.listening import Heard

Servers = tuple[FaultServer, FaultServer]
MakeRerank = Callable[..., FailoverRerank]
Nodes = list[NodeWithScore]

TEXTS = ["Cats purr at night.", "Dogs bark at the postman.", "The moon is far.", "Bread is baked."]
QUERY = "Who barks at the postman?"
PAIR = {"ReRankStartEvent": 1, "ReRankEndEvent": 1}


class ByLength(BaseNodePostprocessor):
    """A reranker that prefers long texts, and writes into the nodes as some do."""

    model: str = "by-length"
    top_n: int = 2

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        for node in nodes:
            node.node.metadata["retrieval_score"] = node.score
            node.score = float(len(node.get_content()))
        return sorted(nodes, key=lambda node: -(node.score or 0.0))[: self.top_n]


class Speaking(ByLength):
    """A reranker that emits the events itself, as some do."""

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        dispatcher = get_dispatcher(__name__)
        dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name="m")
        )
        ranked = super()._postprocess_nodes(nodes, query_bundle)
        dispatcher.event(ReRankEndEvent(nodes=ranked))
        return ranked


class SpeakingThenFailing(ByLength):
    """A reranker that says that it begins, and then cannot."""

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        dispatcher = get_dispatcher(__name__)
        dispatcher.event(
            ReRankStartEvent(query=query_bundle, nodes=nodes, top_n=self.top_n, model_name="m")
        )
        raise ConnectionError


class Failing(ByLength):
    """A reranker whose server is away."""

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        super()._postprocess_nodes(nodes, query_bundle)
        raise ConnectionError


class Answering(BaseNodePostprocessor):
    """A reranker that answers with nodes of its own."""

    answer: list[Any]

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        return self.answer


@pytest.fixture
def rerank_over() -> Iterator[MakeRerank]:
    """Make rerankers over servers, whose connections are closed after the test."""
    with ExitStack() as stack:

        def build(servers: Sequence[FaultServer], **options: Any) -> FailoverRerank:
            urls = [server.url for server in servers]
            rerank = FailoverRerank.from_urls(urls, **({"model": "m"} | options))
            stack.callback(rerank.router.close)
            return rerank

        yield build


def nodes_of(texts: Sequence[str] = TEXTS) -> Nodes:
    return [NodeWithScore(node=TextNode(text=text), score=0.5) for text in texts]


def texts_of(nodes: Nodes) -> list[str]:
    return [node.get_content() for node in nodes]


async def test_both_doors_rank_alike(pair: Servers, rerank_over: MakeRerank) -> None:
    rerank = rerank_over(pair, top_n=2)

    ranked = rerank.postprocess_nodes(nodes_of(), query_str=QUERY)
    asynchronous = await rerank.apostprocess_nodes(nodes_of(), query_str=QUERY)

    assert texts_of(ranked)[0] == TEXTS[1]
    assert len(ranked) == 2
    assert texts_of(ranked) == texts_of(asynchronous)
    assert [node.score for node in ranked] == [node.score for node in asynchronous]


async def test_each_node_says_who_ranked_it(servers: Servers, rerank_over: MakeRerank) -> None:
    servers[0].fault = Status(500)

    (best,) = await rerank_over(servers, top_n=1).apostprocess_nodes(nodes_of(), query_str=QUERY)

    report = best.metadata["failover"]
    assert report["target"] == servers[1].url.removeprefix("http://")
    assert (report["attempts"], report["failed_over"]) == (2, True)


@pytest.mark.parametrize("first", [ByLength, Failing])
async def test_nodes_are_never_changed(first: type[BaseNodePostprocessor]) -> None:
    nodes = nodes_of()
    before = [node.model_copy(deep=True) for node in nodes]
    rerank = FailoverRerank(targets=[first(), ByLength()])

    ranked = rerank.postprocess_nodes(nodes, query_str=QUERY)
    await rerank.apostprocess_nodes(nodes, query_str=QUERY)

    assert nodes == before
    assert {node.node_id for node in ranked} < {node.node_id for node in nodes}


@pytest.mark.parametrize("top_n", [1, 3, 9])
def test_top_n_is_the_same_whoever_serves(
    servers: Servers, rerank_over: MakeRerank, top_n: int
) -> None:
    client = rerank_over(servers).router.targets[0].client
    for targets in ([ByLength()], [Failing(), ByLength()], [client]):
        rerank = FailoverRerank(targets=targets, top_n=top_n)
        assert len(rerank.postprocess_nodes(nodes_of(), query_str=QUERY)) == min(top_n, 4)


def test_top_n_is_the_first_targets_if_it_is_not_given() -> None:
    rerank = FailoverRerank(targets=[ByLength(top_n=3), ByLength(top_n=1)])

    assert rerank.top_n == 3


def test_top_k_of_the_first_target_is_the_same_wish() -> None:
    weighing = TimeWeightedPostprocessor(top_k=2)

    assert FailoverRerank(targets=[weighing]).top_n == 2
    assert FailoverRerank(targets=[weighing], top_n=None).top_n is None


def test_the_threshold_applies_whoever_serves() -> None:
    for targets in ([ByLength()], [Failing(), ByLength()]):
        rerank = FailoverRerank(targets=targets, top_n=4, score_threshold=16.0)
        ranked = rerank.postprocess_nodes(nodes_of(), query_str=QUERY)
        assert texts_of(ranked) == [TEXTS[1], TEXTS[0], TEXTS[2]]


@pytest.mark.parametrize("fault", [DuplicateIndex(), IndexOutOfRange(), NotFinite()])
def test_a_ranking_that_cannot_be_is_never_used(
    servers: Servers, rerank_over: MakeRerank, fault: Any
) -> None:
    servers[0].fault = fault

    ranked = rerank_over(servers).postprocess_nodes(nodes_of(), query_str=QUERY)

    assert ranked[0].metadata["failover"]["failed_over"]


@pytest.mark.parametrize(
    "answer", [nodes_of(["foreign"]), [NodeWithScore(node=TextNode(text="foreign"), score=None)]]
)
def test_nodes_that_were_not_sent_or_have_no_score_are_refused(answer: Nodes) -> None:
    rerank = FailoverRerank(targets=[Answering(answer=answer)])

    with pytest.raises(AllTargetsFailedError) as raised:
        rerank.postprocess_nodes(nodes_of(), query_str=QUERY)

    assert isinstance(raised.value.exceptions[0], MalformedResponseError)


def test_no_nodes_are_no_request(servers: Servers, rerank_over: MakeRerank, heard: Heard) -> None:
    assert rerank_over(servers).postprocess_nodes([], query_str=QUERY) == []
    assert not servers[0].requests
    assert not heard.events


def test_a_ranking_without_a_query_is_refused(servers: Servers, rerank_over: MakeRerank) -> None:
    with pytest.raises(ConfigurationError, match="there is no query"):
        rerank_over(servers).postprocess_nodes(nodes_of())


async def test_events_are_one_pair(pair: Servers, rerank_over: MakeRerank, heard: Heard) -> None:
    await rerank_over(pair).apostprocess_nodes(nodes_of(), query_str=QUERY)

    assert heard.counts(*PAIR) == PAIR
    start = next(event for event in heard.events if isinstance(event, ReRankStartEvent))
    assert (start.model_name, start.top_n, len(start.nodes)) == ("m", 4, 4)


@pytest.mark.parametrize(
    "targets",
    [
        [ByLength()],
        [Speaking()],
        [Failing(), ByLength()],
        [Failing(), Failing(), ByLength()],
        [FailoverRerank(targets=[ByLength()])],
    ],
    ids=["silent", "speaking", "failing first", "failing twice", "nested"],
)
def test_events_of_wrapped_rerankers_are_one_pair(targets: list[Any], heard: Heard) -> None:
    FailoverRerank(targets=targets).postprocess_nodes(nodes_of(), query_str=QUERY)

    assert heard.counts(*PAIR) == PAIR


@pytest.mark.parametrize(
    ("targets", "starts"),
    [([Failing(), Speaking()], 2), ([SpeakingThenFailing(), ByLength()], 2), ([Speaking()], 1)],
)
def test_of_mixed_targets_each_call_ends_once(
    targets: list[Any], starts: int, heard: Heard
) -> None:
    FailoverRerank(targets=targets).postprocess_nodes(nodes_of(), query_str=QUERY)

    assert heard.counts(*PAIR) == {"ReRankStartEvent": starts, "ReRankEndEvent": 1}


def test_nodes_of_one_id_keep_their_places() -> None:
    nodes = [NodeWithScore(node=TextNode(text=text, id_="same")) for text in ("b", "aa")]

    ranked = FailoverRerank(targets=[ByLength()]).postprocess_nodes(nodes, query_str=QUERY)

    assert len(ranked) == 2
