"""PairedIndexes: indexes of two models that hold the same nodes, whatever fails on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode

from failover_core import ConfigurationError, Target
from failover_core.errors import OutOfStepError
from failover_core.testing import FaultServer
from llamaindex_failover import FailoverEmbedding, FailoverRetriever, PairedIndexes
from tests.conftest import Call
from tests.llamaindex.embedding_pools import sent_to

TEXTS = {"cats": "Cats sleep.", "ships": "Ships sail.", "bread": "Bread rises."}


def node(one: str, text: str, document: str = "book") -> TextNode:
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(id_=one, text=text, relationships=source)


NODES = [node(one, text) for one, text in TEXTS.items()]


class World:
    """Two indexes of two models, each model with a server of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self.servers = [stack.enter_context(FaultServer(dimension=size)) for size in (64, 96)]
        self.indexes = [
            VectorStoreIndex([], embed_model=FailoverEmbedding.from_urls(server.url, model="m"))
            for server in self.servers
        ]
        self.paired = PairedIndexes(
            [Target(index, name=name) for index, name in zip(self.indexes, "ab", strict=True)]
        )

    def held(self) -> list[dict[str, str]]:
        """Return what each index has: in its vectors, its structure and its documents alike."""
        return [self._held_by(index) for index in self.indexes]

    def _held_by(self, index: VectorStoreIndex) -> dict[str, str]:
        vectors = index.vector_store.data.embedding_dict  # type: ignore[attr-defined]
        assert set(vectors) == set(index.index_struct.nodes_dict.values())
        nodes: list[BaseNode] = index.docstore.get_nodes(list(vectors))
        return {one.node_id: one.get_content() for one in nodes}

    def sizes(self) -> list[set[int]]:
        stores: list[Any] = [index.vector_store for index in self.indexes]
        return [{len(one) for one in store.data.embedding_dict.values()} for store in stores]


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


async def test_what_is_inserted_is_in_every_index_with_vectors_of_its_own(
    world: World, call: Call
) -> None:
    nodes = [one.model_copy(update={"embedding": [1.0] * 64}) for one in NODES]
    await call(world.paired, "insert_nodes", nodes)
    assert world.held() == [TEXTS, TEXTS]
    assert world.sizes() == [{64}, {96}]
    assert not world.paired.lacking


async def test_inserting_twice_sends_nothing_and_a_newer_form_replaces_the_older(
    world: World, call: Call
) -> None:
    for _ in range(2):
        await call(world.paired, "insert_nodes", NODES)
    await call(world.paired, "insert_nodes", [*NODES, node("ships", "Ships sink.")])
    assert world.held() == [{**TEXTS, "ships": "Ships sink."}] * 2
    assert set(sent_to(*world.servers, among=TEXTS.values()).values()) == {2}


async def test_what_is_deleted_is_in_none(world: World, call: Call) -> None:
    await call(world.paired, "insert_nodes", [*NODES, node("rain", "Rain falls.", "weather")])
    await call(world.paired, "delete_nodes", ["cats", "nobody"])
    assert [sorted(held) for held in world.held()] == [["bread", "rain", "ships"]] * 2
    for _ in range(2):
        await call(world.paired, "delete_ref_doc", "book")
    assert world.held() == [{"rain": "Rain falls."}] * 2
    await call(world.paired, "insert_nodes", NODES)
    assert world.held() == [{**TEXTS, "rain": "Rain falls."}] * 2


@pytest.mark.parametrize("dead", [0, 1])
async def test_an_index_that_fails_keeps_no_other_from_its_nodes(
    dead: int, world: World, call: Call
) -> None:
    world.servers[dead].stop()
    with pytest.raises(OutOfStepError) as caught:
        await call(world.paired, "insert_nodes", NODES)
    assert caught.value.lacking == world.paired.lacking == {"ab"[dead]: list(TEXTS)}
    assert world.held()[1 - dead] == TEXTS
    world.servers[dead].start()
    await call(world.paired, "repair")
    assert world.held() == [TEXTS, TEXTS]
    assert set(sent_to(world.servers[1 - dead], among=TEXTS.values()).values()) == {1}


async def test_a_document_deleted_meanwhile_does_not_come_back(world: World, call: Call) -> None:
    world.servers[1].stop()
    with pytest.raises(OutOfStepError):
        await call(world.paired, "insert_nodes", NODES)
    with pytest.raises(OutOfStepError) as caught:
        await call(world.paired, "delete_ref_doc", "book")
    assert caught.value.surplus == world.paired.surplus == {"b": ["book"]}
    world.servers[1].start()
    await call(world.paired, "repair")
    assert world.held() == [{}, {}]


class HalfWay(BaseEmbedding):
    """An embedding whose server is killed after its first batch."""

    left: int = 1

    def _get_text_embedding(self, text: str) -> list[float]:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError
        return [float(len(text)), 1.0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embedding(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


async def test_an_index_that_failed_half_way_gets_the_rest_and_nothing_twice(
    world: World, call: Call
) -> None:
    embedding = HalfWay(embed_batch_size=1)
    index = VectorStoreIndex([], embed_model=embedding, insert_batch_size=1)
    world.indexes[1] = index
    paired = PairedIndexes(world.indexes)
    with pytest.raises(OutOfStepError):
        await call(paired, "insert_nodes", NODES)
    assert list(world.held()[1]) == ["cats"]
    embedding.left = 2
    await call(paired, "repair")
    assert world.held() == [TEXTS, TEXTS]


async def test_a_new_index_is_filled_from_an_older_one(world: World, call: Call) -> None:
    world.indexes[1].insert_nodes([one.model_copy() for one in NODES])
    await call(world.paired, "repair", [*TEXTS, "nobody"])
    assert world.held() == [TEXTS, TEXTS]


async def test_a_query_goes_to_the_first_index_that_can_answer(world: World, call: Call) -> None:
    nodes = SentenceSplitter()([Document(text=text) for text in TEXTS.values()])
    await call(world.paired, "insert_nodes", nodes)
    retriever = world.paired.as_retriever(similarity_top_k=1)
    assert isinstance(retriever, FailoverRetriever)
    for _ in range(2):
        [found] = await call(retriever, "retrieve", "What do ships do?")
        assert found.get_content() == "Ships sail."
        world.servers[0].stop()
    assert retriever.router.status().failed_over == 1


def test_what_cannot_be_paired_is_refused(world: World) -> None:
    with pytest.raises(ConfigurationError, match="PairedIndexes: there is one store only"):
        PairedIndexes(world.indexes[:1])
    with pytest.raises(ConfigurationError, match=r"targets\[1\] .*; give a VectorStoreIndex"):
        PairedIndexes([world.indexes[0], world.indexes[0].as_retriever()])
