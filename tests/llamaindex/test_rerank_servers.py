"""FailoverRerank over servers: large sets, several models, and nobody left to rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from failover_core import AllTargetsFailedError, ConfigurationError, ResponseStatusError, Target
from failover_core.reranking import Calibration
from failover_core.testing import FaultServer, faults
from llamaindex_failover import FailoverRerank
from tests.llamaindex.listening import Heard

Servers = tuple[FaultServer, FaultServer]
Build = Callable[..., FailoverRerank]
Nodes = list[NodeWithScore]
QUERY = "which harbour has seven ships"
WORDS = ["ship", "harbour", "seven", "kettle", "moon", "bread", "which", "gull"]
PAIR = {"ReRankStartEvent": 1, "ReRankEndEvent": 1}


@pytest.fixture
def over() -> Iterator[Build]:
    """Make rerankers over servers, whose connections are closed after the test."""
    with ExitStack() as stack:

        def build(servers: Sequence[FaultServer], **options: Any) -> FailoverRerank:
            urls = [server.url for server in servers]
            rerank = FailoverRerank.from_urls(urls, **({"model": "m"} | options))
            stack.callback(rerank.router.close)
            return rerank

        yield build


def nodes_of(count: int = 40) -> Nodes:
    texts = [f"{WORDS[n % 8]} {WORDS[n % 7]} {WORDS[n % 5]}" for n in range(count)]
    return [
        NodeWithScore(node=TextNode(text=text, id_=str(n)), score=1 - n / 100)
        for n, text in enumerate(texts)
    ]


async def rank(rerank: FailoverRerank, *, is_async: bool, nodes: Nodes | None = None) -> Nodes:
    given = nodes_of() if nodes is None else nodes
    if is_async:
        return await rerank.apostprocess_nodes(given, query_str=QUERY)
    return rerank.postprocess_nodes(given, query_str=QUERY)


def scores(nodes: Nodes) -> Any:
    """Return the scores in order; a server's own rounding differs with what it ranks together."""
    return pytest.approx([one.score for one in nodes], abs=1e-5)


@pytest.mark.parametrize("top_n", [None, 7])
async def test_pieces_are_merged_into_the_ranking_of_the_whole(
    pair: Servers,
    over: Build,
    heard: Heard,
    top_n: int | None,
    is_async: bool,  # noqa: FBT001
) -> None:
    whole = await rank(over(pair[1:]), is_async=is_async)
    heard.events.clear()

    ranked = await rank(over(pair, batch_size=6, top_n=top_n), is_async=is_async)

    assert [one.score for one in ranked] == scores(whole[:top_n])
    assert heard.counts(*PAIR) == PAIR
    alone = {one.node_id: one.score for one in whole}
    for one in ranked:
        assert one.score == pytest.approx(alone[one.node_id], abs=1e-5)
        assert one.metadata["failover"]["model"] == "m"


async def test_what_a_server_refuses_for_its_size_is_halved(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    servers[0].fault = faults.TooLarge(items=12)

    ranked = await rank(over(servers[:1]), is_async=is_async)

    assert len(ranked) == 40
    assert [len(one.body["documents"]) for one in servers[0].requests] == [40, 20, *[10] * 4]


async def test_nodes_that_nobody_can_rank_pass_through_if_that_is_wished(
    servers: Servers,
    over: Build,
    heard: Heard,
    is_async: bool,  # noqa: FBT001
) -> None:
    for server in servers:
        server.stop()
    rerank = over(servers, on_exhausted="passthrough", top_n=3, score_threshold=0.999)
    given = nodes_of()

    ranked = await rank(rerank, is_async=is_async, nodes=given)

    assert [(one.node_id, one.score) for one in ranked] == [("0", 1.0), ("1", 0.99), ("2", 0.98)]
    for one in ranked:
        report = one.metadata["failover"]
        assert (report["degraded"], report["target"], report["attempts"]) == (True, None, 2)
    assert not given[0].metadata
    assert rerank.router.status().degraded == 1
    assert [event.kind for event in rerank.router.events][-2:] == ["exhausted", "degraded"]
    assert heard.counts(*PAIR) == PAIR
    (end,) = [event for event in heard.events if isinstance(event, ReRankEndEvent)]
    assert len(end.nodes) == 3


async def test_nodes_that_nobody_can_rank_are_an_error_otherwise(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    for server in servers:
        server.stop()
    with pytest.raises(AllTargetsFailedError):
        await rank(over(servers), is_async=is_async)


async def test_a_wrong_request_is_never_passed_through(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    rerank = over(servers, on_exhausted="passthrough")
    wrong = [NodeWithScore(node=TextNode(text=text)) for text in ("fine", "\ud800")]
    with pytest.raises(ConfigurationError, match="not valid Unicode"):
        await rank(rerank, is_async=is_async, nodes=wrong)
    for server in servers:
        server.fault = faults.Status(422)
    with pytest.raises(ResponseStatusError):
        await rank(rerank, is_async=is_async)
    assert rerank.router.status().degraded == 0
    assert [target.failures for target in rerank.router.status().targets] == [0, 0]


async def test_another_model_ranks_everything_and_each_node_names_it(
    servers: Servers,
    over: Build,
    is_async: bool,  # noqa: FBT001
) -> None:
    clients = [
        over([server], model=model).router.targets[0].client
        for server, model in zip(servers, ("first", "second"), strict=True)
    ]
    rerank = FailoverRerank(
        targets=[Target(client, name=name) for client, name in zip(clients, "ab", strict=True)],
        batch_size=10,
    )
    before = await rank(rerank, is_async=is_async)
    assert {one.metadata["failover"]["model"] for one in before} == {"first"}
    servers[0].script([None, faults.Status(500), faults.Status(500), faults.Status(500)])

    ranked = await rank(rerank, is_async=is_async)

    alone = await rank(over(servers[1:], model="second"), is_async=is_async)
    assert [one.score for one in ranked] == scores(alone)
    for one in ranked:
        report = one.metadata["failover"]
        assert (report["model"], report["target"], report["failed_over"]) == ("second", "b", True)


class Sorting(BaseNodePostprocessor):
    """Sorts nodes and gives no scores."""

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        return sorted(nodes, key=lambda one: -int(one.node_id))


class Keeping(BaseNodePostprocessor):
    """Gives no scores, and happens to agree with the order of the retriever."""

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        return nodes


@pytest.mark.parametrize("child", [Sorting(), Keeping()])
@pytest.mark.parametrize("score", [0.5, None, "falling"])
async def test_an_order_is_not_measured_against_the_threshold(
    child: BaseNodePostprocessor,
    score: Any,
    is_async: bool,  # noqa: FBT001
) -> None:
    nodes = nodes_of()
    for node in nodes:
        node.score = node.score if score == "falling" else score
    rerank = FailoverRerank(
        targets=[child], score_threshold=0.999, batch_size=3, top_n=4, normalize="sigmoid"
    )

    ranked = await rank(rerank, is_async=is_async, nodes=nodes)

    wanted = ["39", "38", "37", "36"] if isinstance(child, Sorting) else ["0", "1", "2", "3"]
    assert [one.node_id for one in ranked] == wanted
    assert ranked[0].metadata["failover"]["scored"] is False


class Logits(BaseNodePostprocessor):
    """Scores nodes by logits."""

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        for node in nodes:
            node.score = int(node.node_id) - 30.0
        return nodes


async def test_logits_become_probabilities(is_async: bool) -> None:  # noqa: FBT001
    every: list[dict[str, Any]] = [
        {"normalize": "sigmoid"},
        {"calibrations": {"local": Calibration()}},
        {"normalize": "sigmoid", "calibrations": {"local": Calibration(slope=2.0)}},
    ]
    for settings in every:
        rerank = FailoverRerank(
            targets=[Target(Logits(), name="local")], score_threshold=0.5, **settings
        )
        ranked = await rank(rerank, is_async=is_async)
        assert [one.node_id for one in ranked] == [str(n) for n in range(39, 29, -1)]
        assert ranked[-1].score == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"normalize": "softmax"}, "normalize"),
        ({"on_exhausted": "empty"}, "on_exhausted"),
        ({"calibrations": {"x": Calibration()}}, "no target 'x'"),
    ],
)
def test_a_bad_setting_is_refused_when_the_pool_is_built(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FailoverRerank(targets=[Sorting()], **settings)
