"""Retrievers in fusion, in recursion, over real indices: scenarios of LlamaIndex's own tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, SummaryIndex, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import CompletionResponse
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever, RecursiveRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import (
    IndexNode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)

from failover_core import AllTargetsFailedError, MalformedResponseError, Target
from failover_core.errors import ErrorClass
from llamaindex_failover import FailoverLLM, FailoverRetriever
from tests.llamaindex.listening import Heard

Nodes = list[NodeWithScore]
Pool = Callable[[BaseRetriever], FailoverRetriever]


class Away(BaseRetriever):
    """A retriever whose server is away."""

    def _retrieve(self, query_bundle: QueryBundle) -> Nodes:
        raise ConnectionError


class Fixed(BaseRetriever):
    """A retriever that answers the same to every query."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def _retrieve(self, query_bundle: QueryBundle) -> Any:
        return self.answer


def found(*texts: str, score: float = 1.0) -> Nodes:
    return [NodeWithScore(node=TextNode(text=text, id_=text), score=score) for text in texts]


def texts_of(nodes: Nodes) -> list[str]:
    return [node.get_content() for node in nodes]


@pytest.fixture(params=["healthy", "dead primary"])
def pool(request: pytest.FixtureRequest) -> Pool:
    """Put a retriever into a pool, behind one that is away in half of the tests."""
    dead = request.param == "dead primary"
    return lambda child: FailoverRetriever([Away(), child] if dead else [child, Away()])


async def through_both_doors(retriever: BaseRetriever, query: str = "q") -> list[Nodes]:
    return [retriever.retrieve(query), await retriever.aretrieve(query)]


async def beside_the_bare(pool: Pool, bare: BaseRetriever) -> Iterator[tuple[Nodes, Nodes]]:
    """Return what a pool and the bare retriever answer, door by door."""
    answers = await through_both_doors(pool(bare))
    return zip(answers, await through_both_doors(bare), strict=True)


# Recursive and composed retrieval


async def test_objects_behind_index_nodes_are_found_and_doubles_left_out(pool: Pool) -> None:
    text = TextNode(text="plain", id_="plain")
    hidden = IndexNode(text="see there", index_id="there", obj=TextNode(text="hidden"))
    index = SummaryIndex(nodes=[text, text], objects=[hidden])

    for nodes in await through_both_doors(pool(index.as_retriever())):
        assert texts_of(nodes) == ["plain", "hidden"]


async def test_index_nodes_are_followed_one_step_as_by_the_bare_retriever(pool: Pool) -> None:
    inner = IndexNode(text="inner", index_id="i", obj=TextNode(text="too far"))
    outer = IndexNode(text="outer", index_id="o", obj=inner)
    bare = Fixed([NodeWithScore(node=outer, score=1.0)])

    expected = texts_of(bare.retrieve("q"))

    assert expected == ["inner"]
    for nodes in await through_both_doors(pool(bare)):
        assert texts_of(nodes) == expected


async def test_the_pools_own_objects_are_found_too() -> None:
    pointer = IndexNode(text="see there", index_id="there")
    retriever = FailoverRetriever(
        [Away(), Fixed([NodeWithScore(node=pointer, score=1.0)])],
        objects=[IndexNode(text="", index_id="there", obj=TextNode(text="found"))],
    )

    for nodes in await through_both_doors(retriever):
        assert texts_of(nodes) == ["found"]


async def test_an_object_that_fails_moves_the_call_on() -> None:
    pointer = IndexNode(text="see there", index_id="there", obj=Away())
    retriever = FailoverRetriever([Fixed([NodeWithScore(node=pointer)]), Fixed(found("b"))])

    for nodes in await through_both_doors(retriever):
        assert texts_of(nodes) == ["b"]


async def test_a_query_engine_behind_an_index_node_answers_as_over_the_bare_retriever(
    pool: Pool,
) -> None:
    embedding = MockEmbedding(3)
    document = Document(text="Paris is in France.", metadata={"source": "geography"})
    engine = VectorStoreIndex.from_documents([document], embed_model=embedding).as_query_engine(
        llm=MockLLM()
    )
    pointer = IndexNode(text="France", index_id="france", obj=engine)
    index = VectorStoreIndex(nodes=[], objects=[pointer], embed_model=embedding)

    bare = index.as_retriever(similarity_top_k=1)

    for nodes, expected in await beside_the_bare(pool, bare):
        assert [[*node.metadata.values()] for node in nodes] == [
            [*node.metadata.values()] for node in expected
        ]


async def test_equal_texts_of_different_documents_are_found_as_by_the_bare_retriever(
    pool: Pool,
) -> None:
    nodes = [TextNode(text="shared", id_=name) for name in "ab"]
    for node in nodes:
        node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=f"of {node.id_}")

    bare = SummaryIndex(nodes=nodes).as_retriever()

    for answer, expected in await beside_the_bare(pool, bare):  # older ones drop the second
        assert [one.node.ref_doc_id for one in answer] == [one.node.ref_doc_id for one in expected]


async def test_a_recursive_retriever_goes_through_pools(pool: Pool) -> None:
    pointer = IndexNode(text="see there", index_id="leaf")
    retriever = RecursiveRetriever(
        "root",
        retriever_dict={
            "root": pool(Fixed([NodeWithScore(node=pointer, score=1.0)])),
            "leaf": pool(Fixed(found("leaf"))),
        },
    )

    assert texts_of(retriever.retrieve("q")) == ["leaf"]


# Fusion


@pytest.mark.parametrize("mode", list(FUSION_MODES))
@pytest.mark.parametrize("use_async", [False, True], ids=["in turn", "at once"])
async def test_fusion_over_pools_is_as_over_bare_retrievers(
    pool: Pool,
    mode: FUSION_MODES,
    use_async: bool,  # noqa: FBT001
) -> None:
    class Queries(MockLLM):
        def complete(self, *_: Any, **__: Any) -> CompletionResponse:
            return CompletionResponse(text="q1\nq2")

        async def acomplete(self, *_: Any, **__: Any) -> CompletionResponse:
            return CompletionResponse(text="q1\nq2")

    def children() -> list[BaseRetriever]:
        return [Fixed(found("a", "b", score=0.5)), Fixed(found("b", "c", score=0.9))]

    def fused(retrievers: Any) -> QueryFusionRetriever:
        return QueryFusionRetriever(
            retrievers,
            llm=FailoverLLM(targets=[Queries(max_tokens=None)]),
            mode=mode,
            num_queries=3,
            use_async=use_async,
            similarity_top_k=3,
        )

    bare = fused(children()).retrieve("q")
    pooled = fused([pool(child) for child in children()])
    again = fused([pool(child) for child in children()])

    for nodes in (pooled.retrieve("q"), await again.aretrieve("q")):
        assert [(node.get_content(), node.score) for node in nodes] == [
            (node.get_content(), node.score) for node in bare
        ]


def test_in_fusion_each_index_is_asked_with_a_vector_of_its_own() -> None:
    class Noting(MockEmbedding):
        asked: int = 0

        def _get_query_embedding(self, query: str) -> list[float]:
            self.asked += 1
            return super()._get_query_embedding(query)

    models = [Noting(embed_dim=2), Noting(embed_dim=5)]
    indices = [VectorStoreIndex([TextNode(text="t")], embed_model=model) for model in models]
    fused = QueryFusionRetriever(
        [FailoverRetriever([index.as_retriever()]) for index in indices],
        llm=MockLLM(),
        num_queries=1,
        use_async=False,
    )

    fused.retrieve("q")

    assert [model.asked for model in models] == [1, 1]


# What a retriever must answer with


@pytest.mark.parametrize(
    "answer", [None, "text", [TextNode(text="t")]], ids=["none", "str", "node"]
)
async def test_an_answer_that_is_no_list_of_nodes_moves_the_call_on(answer: Any) -> None:
    retriever = FailoverRetriever(
        [Target(Fixed(answer), name="odd"), Target(Fixed(found("b")), name="sound")]
    )

    for nodes in await through_both_doors(retriever):
        assert texts_of(nodes) == ["b"]
    assert retriever.router.status().targets[0].last_error is not None


def test_the_error_names_the_target_and_what_it_answered() -> None:
    retriever = FailoverRetriever([Target(Fixed(None), name="odd")])

    with pytest.raises(AllTargetsFailedError) as raised:
        retriever.retrieve("q")

    (error,) = raised.value.exceptions
    assert isinstance(error, MalformedResponseError)
    assert raised.value.error_class is ErrorClass.MALFORMED
    assert "NoneType, not with a list of NodeWithScore" in str(error)
    assert "odd" in "".join(error.__notes__)


async def test_finding_nothing_is_an_answer() -> None:
    retriever = FailoverRetriever([Fixed([]), Fixed(found("b"))])

    assert await through_both_doors(retriever) == [[], []]


# Around it


async def test_a_query_engine_takes_a_pool_for_each_of_its_parts(pool: Pool) -> None:
    llm = FailoverLLM(targets=[MockLLM()])
    engine = RetrieverQueryEngine.from_args(pool(Fixed(found("a", "b"))), llm=llm)
    pointer = IndexNode(text="see there", index_id="there", obj=engine)
    outer = pool(Fixed([NodeWithScore(node=pointer, score=1.0)]))

    for nodes in await through_both_doors(outer):
        assert "a\n\nb" in nodes[0].get_content()


async def test_an_evaluation_of_retrieval_takes_a_pool(pool: Pool, heard: Heard) -> None:
    evaluator = RetrieverEvaluator.from_metric_names(
        ["mrr", "hit_rate"], retriever=pool(Fixed(found("a", "b")))
    )

    result = await evaluator.aevaluate(query="q", expected_ids=["b"])

    assert result.metric_vals_dict == {"mrr": 0.5, "hit_rate": 1.0}
    assert [event.class_name() for event in heard.events if "Retrieval" in event.class_name()] == [
        "RetrievalStartEvent",
        "RetrievalEndEvent",
    ]


def test_its_name_is_stable() -> None:
    assert FailoverRetriever.class_name() == "FailoverRetriever"
