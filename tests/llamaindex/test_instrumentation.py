"""Spans, events and tags of LlamaIndex's dispatcher: those of the bare object, no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.instrumentation.dispatcher import (  # type: ignore[attr-defined]
    instrument_tags,
)
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from failover_core import Target
from failover_core.testing import FaultServer
from llamaindex_failover import FailoverRerank, FailoverRetriever
from tests.llamaindex.listening import Heard, tallied
from tests.llamaindex.spans import Spans, tracing
from tests.llamaindex.stacks import Stack, Stacks

Servers = tuple[FaultServer, FaultServer]
Nodes = list[NodeWithScore]

RETRIEVAL = ["RetrievalStartEvent", "EmbeddingStartEvent", "EmbeddingEndEvent", "RetrievalEndEvent"]
RERANKING = ["ReRankStartEvent", "ReRankEndEvent"]


class Ranks(BaseNodePostprocessor):
    """A reranker that turns the order around, or is away."""

    is_away: bool = False

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        if self.is_away:
            raise ConnectionError
        return [NodeWithScore(node=one.node, score=float(n)) for n, one in enumerate(nodes)][::-1]

    async def _apostprocess_nodes(
        self, nodes: Nodes, query_bundle: QueryBundle | None = None
    ) -> Nodes:
        return self._postprocess_nodes(nodes, query_bundle)


class Finds(BaseRetriever):
    """A retriever that finds its name, or is away."""

    def __init__(self, name: str, *, is_away: bool = False) -> None:
        super().__init__()
        self.name = name
        self.is_away = is_away

    def _retrieve(self, query_bundle: QueryBundle) -> Nodes:
        if self.is_away:
            raise ConnectionError
        return [NodeWithScore(node=TextNode(text=self.name), score=1.0)]


def nodes() -> Nodes:
    return [NodeWithScore(node=TextNode(text=text), score=0.5) for text in "abc"]


@pytest.fixture
def spans() -> Iterator[Spans]:
    with tracing() as spans:
        yield spans


@pytest.fixture
def stacks(servers: Servers) -> Iterator[Stacks]:
    stacks = Stacks(servers)
    yield stacks
    stacks.close()


async def test_a_rerankers_spans_are_those_of_the_bare_one(spans: Spans) -> None:
    pool = FailoverRerank(targets=[Ranks(), Ranks()])

    pool.postprocess_nodes(nodes(), query_str="q")
    await pool.apostprocess_nodes(nodes(), query_str="q")

    assert spans.entered == ["Ranks._postprocess_nodes"] * 2


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_retrievers_spans_are_those_of_the_bare_one(spans: Spans, is_away: bool) -> None:  # noqa: FBT001
    pool = FailoverRetriever([Finds("a", is_away=is_away), Finds("b")])

    pool.retrieve("q")

    assert spans.entered == ["FailoverRetriever.retrieve"] + ["Finds._retrieve"] * (1 + is_away)
    assert spans.dropped == ["Finds._retrieve"] * is_away
    assert spans.parents["Finds._retrieve"] == "FailoverRetriever.retrieve"

    spans.entered.clear()
    await pool.aretrieve("q")

    assert spans.methods[0] == "aretrieve"
    assert set(spans.methods[1:]) == {"_retrieve"}


async def test_each_request_to_a_server_has_a_span(servers: Servers, stacks: Stacks) -> None:
    servers[0].stop()
    pool = stacks.pooled(over="URLs").rerank

    with tracing() as spans:
        pool.postprocess_nodes(nodes(), query_str="q")
        await pool.apostprocess_nodes(nodes(), query_str="q")

    assert spans.entered == ["InfinityClient.rerank"] * 2 + ["InfinityClient.arerank"]
    assert spans.dropped == ["InfinityClient.rerank"]


def test_a_subclass_that_ranks_differently_has_a_span_of_its_own(spans: Spans) -> None:
    class Mine(FailoverRerank):
        def _postprocess_nodes(
            self, nodes: Nodes, query_bundle: QueryBundle | None = None
        ) -> Nodes:
            return super()._postprocess_nodes(nodes, query_bundle)

    Mine(targets=[Ranks()]).postprocess_nodes(nodes(), query_str="q")

    assert spans.entered == ["Mine._postprocess_nodes", "Ranks._postprocess_nodes"]


@pytest.mark.parametrize("over", ["objects", "URLs"])
async def test_a_query_is_reported_in_the_bare_objects_order(
    stacks: Stacks, heard: Heard, over: str
) -> None:
    def about_nodes() -> list[str]:
        names = [event.class_name() for event in heard.events]
        heard.events.clear()
        return [name for name in names if name in {*RETRIEVAL, *RERANKING}]

    stack = stacks.pooled(over=over)
    engine = RetrieverQueryEngine.from_args(
        stack.retriever,
        llm=stack.llm,
        node_postprocessors=[stack.rerank],
        callback_manager=stack.manager,
    )

    engine.query("Who mends the net?")
    assert about_nodes() == RETRIEVAL + RERANKING
    await engine.aquery("Who mends the net?")
    assert about_nodes() == RETRIEVAL + RERANKING


async def test_a_querys_spans_hang_together_as_the_bare_objects_do(stacks: Stacks) -> None:
    seen = []
    for stack in (stacks.bare(), stacks.pooled()):
        with tracing() as spans:
            await _retrieve_and_rank(stack)
        seen.append([name for name in spans.methods if "embedding" not in name])

    assert seen[0] == seen[1]


async def _retrieve_and_rank(stack: Stack) -> None:
    found = stack.retriever.retrieve("Who mends the net?")
    stack.rerank.postprocess_nodes(found, query_str="Who mends the net?")
    found = await stack.retriever.aretrieve("Who mends the net?")
    await stack.rerank.apostprocess_nodes(found, query_str="Who mends the net?")


def test_events_carry_the_tags_and_the_span_of_their_call(stacks: Stacks, heard: Heard) -> None:
    with instrument_tags({"request": "r1"}), tracing() as spans:
        stacks.pooled().retriever.retrieve("Who mends the net?")

    assert {event.tags["request"] for event in heard.events} == {"r1"}
    known = set(spans.entered)
    assert all(event.span_id.partition("-")[0] in known for event in heard.events)


def test_nothing_is_lost_when_a_listener_fails(heard: Heard, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(Heard, "handle", fail)

    ranked = FailoverRerank(targets=[Ranks()]).postprocess_nodes(nodes(), query_str="q")

    assert len(ranked) == 3


# The preferred target, which LlamaIndex's tags name


def _rank(names: list[str]) -> Callable[[], str]:
    pool = FailoverRerank(targets=[Target(Ranks(), name=name) for name in names])

    def ask() -> str:
        best = pool.postprocess_nodes(nodes(), query_str="q")[0]
        return str(best.metadata["failover"]["target"])

    return ask


def _find(names: list[str]) -> Callable[[], str]:
    pool = FailoverRetriever([Target(Finds(name), name=name) for name in names])
    return lambda: str(pool.retrieve("q")[0].get_content())


@pytest.mark.parametrize("pool_of", [_rank, _find])
def test_a_tag_names_the_target_to_try_first(pool_of: Callable[..., Callable[[], str]]) -> None:
    ask = pool_of(["a", "b"])

    with instrument_tags({"failover": "b"}):
        preferred = ask()
    with instrument_tags({"failover": "of another pool"}):
        unaffected = ask()

    assert (preferred, unaffected, ask()) == ("b", "a", "a")


async def test_a_tag_holds_through_an_engine_and_its_tasks(stacks: Stacks) -> None:
    stack = stacks.pooled()
    pools: list[Any] = [stack.llm, stack.embedding, stack.rerank, stack.retriever]
    engine = RetrieverQueryEngine.from_args(
        stack.retriever, llm=stack.llm, node_postprocessors=[stack.rerank]
    )

    stack.embedding.get_query_embedding("The first target tells of the space of all.")

    with instrument_tags({"failover": "b"}):
        await engine.aquery("Who mends the net?")
        engine.query("Who mends the net?")

    for pool in pools:
        first, second = pool.router.status().targets
        assert (first.requests, second.requests) == (int(pool is stack.embedding), 2)


async def test_what_a_call_itself_prefers_goes_before_the_tags(stacks: Stacks) -> None:
    llm = stacks.pooled().llm

    with instrument_tags({"failover": "b"}):
        tagged = await llm.acomplete("Hello")
        named = await llm.acomplete("Hello", preferred_target="a")

    served = [answer.additional_kwargs["failover"]["target"] for answer in (tagged, named)]
    assert served == ["b", "a"]


async def test_the_callback_manager_is_handed_on_to_every_target() -> None:
    tally, manager = tallied()
    retrievers, rerankers = [Finds("a"), Finds("b")], [Ranks(), Ranks()]

    given = FailoverRetriever(retrievers, callback_manager=manager)
    FailoverRerank(targets=rerankers, callback_manager=manager)

    assert all(child.callback_manager is manager for child in retrievers)
    assert all(child.callback_manager is manager for child in rerankers)
    assert given.callback_manager is manager
    given.retrieve("q")
    await given.aretrieve("q")
    assert tally.starts["retrieve"] == tally.ends["retrieve"] == 2


def test_without_one_the_first_targets_callback_manager_is_used() -> None:
    tally, manager = tallied()
    first, second = Finds("a", is_away=True), Finds("b")
    first.callback_manager = manager

    FailoverRetriever([first, second]).retrieve("q")

    assert second.callback_manager is manager
    assert tally.starts["retrieve"] == tally.ends["retrieve"] == 1


def test_an_engines_callback_manager_reaches_the_rerankers() -> None:
    _, manager = tallied()
    pool = FailoverRerank(targets=[Ranks(), Ranks()])

    RetrieverQueryEngine(Finds("a"), _no_synthesizer(), [pool], callback_manager=manager)

    assert [one.client.child.callback_manager for one in pool.router.targets] == [manager] * 2


def _no_synthesizer() -> Any:
    return object()
