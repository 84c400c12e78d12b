"""LlamaIndex's own postprocessors in a pool and beside one: scenarios of its tests."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import (
    MetadataReplacementPostProcessor,
    PrevNextNodePostprocessor,
    SimilarityPostprocessor,
    StructuredLLMRerank,
    TimeWeightedPostprocessor,
)
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore import SimpleDocumentStore

from failover_core import AllTargetsFailedError
from failover_core.testing import FaultServer
from llamaindex_failover import FailoverRerank
from tests.llamaindex.listening import Heard

Nodes = list[NodeWithScore]
Servers = tuple[FaultServer, FaultServer]


class Away(BaseNodePostprocessor):
    """A reranker whose server is away."""

    def _postprocess_nodes(self, nodes: Nodes, query_bundle: QueryBundle | None = None) -> Nodes:
        raise ConnectionError


class Finds(BaseRetriever):
    """A retriever that finds the nodes it is given."""

    def __init__(self, nodes: Nodes) -> None:
        super().__init__()
        self.nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> Nodes:
        return self.nodes


def linked() -> list[TextNode]:
    """Return three nodes, each of which knows the next."""
    nodes = [TextNode(text=text, id_=text) for text in ("first", "second", "third")]
    for node, later in itertools.pairwise(nodes):
        node.relationships[NodeRelationship.NEXT] = RelatedNodeInfo(node_id=later.node_id)
    return nodes


def seen(nodes: Nodes) -> list[tuple[str, float | None]]:
    return [(node.get_content(), node.score) for node in nodes]


@pytest.fixture(params=["healthy", "dead primary"])
def before(request: pytest.FixtureRequest) -> list[BaseNodePostprocessor]:
    """What is tried first: nothing, or a reranker that is away."""
    return [Away()] if request.param == "dead primary" else []


async def as_bare(child: Any, before: list[Any], nodes: Nodes, **options: Any) -> None:
    """Compare what comes out of a pool with what comes out of the bare child, at both doors."""
    copies = [node.model_copy(deep=True) for node in nodes]
    expected = seen(child.postprocess_nodes(copies, query_str="q"))
    pool = FailoverRerank(targets=[*before, child], **options)

    assert seen(pool.postprocess_nodes(nodes, query_str="q")) == expected
    assert seen(await pool.apostprocess_nodes(nodes, query_str="q")) == expected


async def test_what_is_not_similar_enough_is_left_out(before: list[Any]) -> None:
    nodes = [NodeWithScore(node=node, score=0.3 * n) for n, node in enumerate(linked(), 1)]

    await as_bare(SimilarityPostprocessor(similarity_cutoff=0.5), before, nodes[::-1])


async def test_time_weighs_and_the_callers_nodes_keep_their_time(before: list[Any]) -> None:
    key = "__last_accessed__"
    nodes = [
        NodeWithScore(node=TextNode(text=str(n), metadata={key: n}), score=1.0) for n in range(3)
    ]
    child = TimeWeightedPostprocessor(top_k=2, time_decay=0.9, time_access_refresh=True, now=4.0)

    await as_bare(child, before, nodes, **({"top_n": 2} if before else {}))

    assert [node.metadata[key] for node in nodes] == [0, 1, 2]


async def test_an_llm_that_ranks_by_a_schema_ranks_alike(pair: Servers, llm: Any) -> None:
    nodes = [NodeWithScore(node=node, score=0.5) for node in linked()]

    await as_bare(StructuredLLMRerank(llm=llm, top_n=2), [], nodes)


async def test_what_replaces_texts_may_do_so(before: list[Any]) -> None:
    node = TextNode(text="word", metadata={"window": "a word in its sentence"})
    child = MetadataReplacementPostProcessor(target_metadata_key="window")

    await as_bare(child, before, [NodeWithScore(node=node, score=0.5)])


def test_what_adds_nodes_is_refused_within_a_pool_and_works_beside_it(heard: Heard) -> None:
    docstore = SimpleDocumentStore()
    docstore.add_documents(linked())
    adds = PrevNextNodePostprocessor(docstore=docstore, num_nodes=2)
    found = [NodeWithScore(node=linked()[0], score=0.5)]
    sorts = SimilarityPostprocessor(similarity_cutoff=0.1)

    with pytest.raises(AllTargetsFailedError) as raised:
        FailoverRerank(targets=[adds]).postprocess_nodes(found, query_str="q")
    engine = RetrieverQueryEngine.from_args(
        Finds(found),
        llm=MockLLM(),
        node_postprocessors=[FailoverRerank(targets=[Away(), sorts]), adds],
    )
    response = engine.query("q")

    assert "beside a FailoverRerank" in str(raised.value.__cause__)
    assert [node.get_content() for node in response.source_nodes] == ["first", "second", "third"]


@pytest.mark.parametrize("count", [1, 2])
async def test_pools_within_pools_and_after_one_another(count: int, heard: Heard) -> None:
    nodes = [NodeWithScore(node=node, score=0.5) for node in linked()]
    pool = FailoverRerank(targets=[Away(), SimilarityPostprocessor(similarity_cutoff=0.1)])
    outer = FailoverRerank(targets=[Away(), pool], top_n=2)

    for _ in range(count):
        nodes = await outer.apostprocess_nodes(nodes, query_str="q")

    assert len(nodes) == 2
    assert nodes[0].metadata["failover"]["target"] == "FailoverRerank"
    assert heard.counts("ReRankEndEvent") == {"ReRankEndEvent": count}
