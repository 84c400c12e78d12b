"""PairedStores: indexes of two models that hold the same documents, whatever fails on the way."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from failover_core.errors import ConfigurationError, OutOfStepError, TargetError
from failover_core.testing import FaultServer
from langchain_failover import FailoverEmbeddings, FailoverRetriever, PairedStores, Target
from tests.conftest import Call

DOCUMENTS = [
    Document("Cats sleep.", id="cats", metadata={"page": 1}),
    Document("Ships sail.", id="ships"),
    Document("Bread rises.", id="bread"),
]


class World:
    """Two stores of two models, each model with a server of its own."""

    def __init__(self, stack: ExitStack) -> None:
        self.servers = [stack.enter_context(FaultServer(dimension=size)) for size in (64, 96)]
        self.stores = [self.store_over(server) for server in self.servers]
        self.paired = self.pair()

    def store_over(self, server: FaultServer) -> InMemoryVectorStore:
        return InMemoryVectorStore(FailoverEmbeddings.from_urls(server.url, model="m"))

    def pair(self) -> PairedStores:
        names = ("ours", "theirs")
        stores = zip(self.stores, names, strict=True)
        return PairedStores([Target(store, name=name) for store, name in stores])

    def held(self) -> list[dict[str, str]]:
        stores = [store.store for store in self.stores]
        return [{one: entry["text"] for one, entry in store.items()} for store in stores]

    def sent(self, number: int) -> list[str]:
        inputs = [request.body["input"] for request in self.servers[number].requests]
        return [text for batch in inputs for text in batch if text in ALL.values()]


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        yield World(stack)


ALL = {str(document.id): document.page_content for document in DOCUMENTS}


async def test_what_is_added_is_in_every_store_under_the_same_ids(world: World, call: Call) -> None:
    assert await call(world.paired, "add_documents", DOCUMENTS) == list(ALL)
    assert world.held() == [ALL, ALL]
    [ids] = [await call(world.paired, "add_texts", ["Rain falls."], metadatas=[{"page": 2}])]
    assert [store[ids[0]] for store in world.held()] == ["Rain falls."] * 2
    given = await call(world.paired, "add_texts", ["Rain."], ids=["rain"])
    assert given == ["rain"]
    assert not world.paired.lacking
    sizes = [{len(entry["vector"]) for entry in store.store.values()} for store in world.stores]
    assert sizes == [{64}, {96}]


class Chroma(InMemoryVectorStore):
    """Cannot give back a document without metadata, nor any that is asked for with it."""

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        found = super().get_by_ids(ids)
        return [
            Document(one.page_content, id=one.id, metadata=one.metadata or None) for one in found
        ]

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return self.get_by_ids(ids)


@pytest.fixture
def forgetful(world: World) -> World:
    """Return a world in which the second store is a ``Chroma``."""
    world.stores[1] = Chroma(world.stores[1].embedding)
    world.paired = world.pair()
    return world


async def test_what_a_store_cannot_give_back_is_replaced_and_deleted_as_any_other(
    forgetful: World, call: Call
) -> None:
    for _ in range(2):
        assert await call(forgetful.paired, "add_documents", DOCUMENTS) == list(ALL)
    assert forgetful.sent(1).count("Cats sleep.") == 1  # that one it can give back

    await call(forgetful.paired, "delete", ["ships", "nobody"])
    assert forgetful.held() == [{one: ALL[one] for one in ("cats", "bread")}] * 2


async def test_what_a_store_cannot_give_back_is_copied_from_one_that_can(
    forgetful: World, call: Call
) -> None:
    forgetful.stores[1].add_documents(DOCUMENTS)
    with pytest.raises(TargetError, match="no store can give back 'ships', 'bread'; add them"):
        await call(forgetful.pair(), "repair", list(ALL))

    forgetful.stores[0].add_documents(DOCUMENTS[1:])
    await call(forgetful.pair(), "repair", list(ALL))
    assert forgetful.held() == [ALL, ALL]


async def test_what_is_deleted_is_in_none(world: World, call: Call) -> None:
    await call(world.paired, "add_documents", DOCUMENTS)
    assert await call(world.paired, "delete", ["cats", "nobody"]) is True
    assert [sorted(store) for store in world.held()] == [["bread", "ships"]] * 2


async def test_an_older_form_of_a_document_is_replaced(world: World, call: Call) -> None:
    await call(world.paired, "add_documents", DOCUMENTS)
    newer = Document("Ships sink.", id="ships")
    await call(world.paired, "add_documents", [newer, DOCUMENTS[0]])
    assert world.held() == [{**ALL, "ships": "Ships sink."}] * 2


async def test_adding_twice_sends_nothing_and_is_no_second_document(
    world: World, call: Call
) -> None:
    documents = [Document(text) for text in ("Cats sleep.", "Ships sail.", "Ships sail.")]
    first = await call(world.paired, "add_documents", documents)
    asked = [server.served for server in world.servers]
    assert await call(world.paired, "add_documents", documents) == first
    assert len(set(first)) == 3
    assert [server.served for server in world.servers] == asked
    assert [len(store) for store in world.held()] == [3, 3]


@pytest.mark.parametrize("dead", [0, 1])
async def test_a_store_that_fails_keeps_no_other_from_its_documents(
    dead: int, world: World, call: Call
) -> None:
    world.servers[dead].stop()
    with pytest.raises(OutOfStepError) as caught:
        await call(world.paired, "add_documents", DOCUMENTS)
    name = ("ours", "theirs")[dead]
    assert caught.value.lacking == world.paired.lacking == {name: list(ALL)}
    assert f"{name!r} lacks 'cats', 'ships', 'bread'" in str(caught.value)
    assert list(caught.value.errors) == [name]
    assert world.held()[1 - dead] == ALL
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - ours
    assert str(again) == str(caught.value)

    world.servers[dead].start()
    asked = world.servers[1 - dead].served
    await call(world.paired, "repair")
    assert world.held() == [ALL, ALL]
    assert not world.paired.lacking
    assert world.servers[1 - dead].served == asked


async def test_a_change_made_again_brings_the_store_in_step(world: World, call: Call) -> None:
    world.servers[1].stop()
    with pytest.raises(OutOfStepError):
        await call(world.paired, "add_documents", DOCUMENTS)
    world.servers[1].start()
    await call(world.paired, "add_documents", DOCUMENTS)
    assert world.held() == [ALL, ALL]
    assert sorted(world.sent(1)) == sorted(ALL.values())


async def test_what_is_owed_comes_before_the_next_change(world: World, call: Call) -> None:
    world.servers[1].stop()
    with pytest.raises(OutOfStepError):
        await call(world.paired, "add_documents", DOCUMENTS[:2])
    with pytest.raises(OutOfStepError, match="'theirs' lacks 'cats', 'ships', 'bread'"):
        await call(world.paired, "add_documents", DOCUMENTS[2:])
    world.servers[1].start()
    await call(world.paired, "add_documents", [Document("Rain falls.", id="rain")])
    assert world.held() == [{**ALL, "rain": "Rain falls."}] * 2


async def test_what_was_deleted_meanwhile_does_not_come_back(world: World, call: Call) -> None:
    world.servers[1].stop()
    with pytest.raises(OutOfStepError):
        await call(world.paired, "add_documents", DOCUMENTS)
    with pytest.raises(OutOfStepError) as caught:
        await call(world.paired, "delete", ["cats"])
    assert caught.value.lacking == {"theirs": ["ships", "bread"]}
    assert caught.value.surplus == {"theirs": ["cats"]}
    assert "'theirs' still has 'cats'" in str(caught.value)
    world.servers[1].start()
    await call(world.paired, "repair")
    assert [sorted(store) for store in world.held()] == [["bread", "ships"]] * 2


async def test_a_document_that_a_store_never_takes_can_be_given_up(
    world: World, call: Call
) -> None:
    class Choosy(DeterministicFakeEmbedding):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            if "Ships sail." in texts:
                message = "no"
                raise ValueError(message)
            return super().embed_documents(texts)

    world.stores[1] = InMemoryVectorStore(Choosy(size=8))
    paired = world.pair()
    with pytest.raises(OutOfStepError):
        await call(paired, "add_documents", DOCUMENTS)
    await call(paired, "delete", ["ships"])
    assert [sorted(store) for store in world.held()] == [["bread", "cats"]] * 2


class HalfWay(InMemoryVectorStore):
    """A store whose server is killed between two of its documents."""

    is_dying = True

    def add_documents(
        self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        for document, one in zip(documents, ids or [], strict=True):
            super().add_documents([document], ids=[one])
            if self.is_dying:
                raise ConnectionError
        return ids or []

    async def aadd_documents(
        self, documents: list[Document], ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        return self.add_documents(documents, ids)


class Silent(HalfWay):
    """The same, and it cannot be asked what it has."""

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        raise NotImplementedError

    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        raise NotImplementedError


@pytest.mark.parametrize("kind", [HalfWay, Silent])
async def test_a_store_that_failed_half_way_gets_the_rest_and_nothing_twice(
    kind: type[HalfWay], world: World, call: Call
) -> None:
    store = world.stores[0] = kind(DeterministicFakeEmbedding(size=8))
    paired = world.pair()
    with pytest.raises(OutOfStepError):
        await call(paired, "add_documents", DOCUMENTS)
    assert list(store.store) == ["cats"]
    store.is_dying = False
    await call(paired, "repair")
    assert world.held() == [ALL, ALL]
    await call(paired, "delete", ["cats"])
    assert "cats" not in world.held()[0]


async def test_a_new_store_is_filled_from_an_older_one(world: World, call: Call) -> None:
    world.stores[0].add_documents(DOCUMENTS)
    world.stores[1].add_documents([Document("Rain falls.", id="rain")])
    await call(world.paired, "repair", [*ALL, "rain", "nobody"])
    assert world.held() == [{**ALL, "rain": "Rain falls."}] * 2
    assert world.stores[1].get_by_ids(["cats"])[0].metadata == {"page": 1}


async def test_a_store_that_cannot_be_asked_is_filled_too(world: World, call: Call) -> None:
    world.stores[0].add_documents(DOCUMENTS)
    silent = world.stores[1] = Silent(DeterministicFakeEmbedding(size=8))
    silent.is_dying = False
    await call(world.pair(), "repair", list(ALL))
    assert world.held() == [ALL, ALL]


async def test_the_stores_share_no_document(world: World, call: Call) -> None:
    document = Document("Cats sleep.", id="cats", metadata={"pages": [1]})
    await call(world.paired, "add_documents", [document])
    world.stores[0].store["cats"]["metadata"]["pages"].append(2)
    assert world.stores[1].store["cats"]["metadata"] == document.metadata == {"pages": [1]}


async def test_a_search_goes_to_the_first_store_that_can_answer(world: World, call: Call) -> None:
    await call(world.paired, "add_documents", DOCUMENTS)
    retriever = world.paired.as_retriever(k=1, policy={"total_timeout": 30})
    assert isinstance(retriever, FailoverRetriever)
    assert [target.name for target in retriever.router.targets] == ["ours", "theirs"]
    for _ in range(2):
        assert [one.id for one in await call(retriever, "invoke", "What do ships do?")] == ["ships"]
        found = await call(world.paired, "similarity_search", "What do ships do?", k=2)
        assert len(found) == 2
        assert found[0].id == "ships"
        world.servers[0].stop()
    assert retriever.router.status().failed_over == 1


def test_langchains_indexing_makes_up_for_what_it_could_not_do(world: World) -> None:
    records = InMemoryRecordManager(namespace="pair")
    records.create_schema()
    documents = [Document(text, metadata={"source": one}) for one, text in ALL.items()]
    settings: dict[str, Any] = {
        "cleanup": "full",
        "source_id_key": "source",
        "key_encoder": "sha256",
    }

    def run(wanted: list[Document]) -> Any:  # in a process of its own, as it were
        return index(wanted, records, world.pair(), **settings)

    world.servers[1].stop()
    with pytest.raises(OutOfStepError):
        run(documents)
    world.servers[1].start()
    run(documents)
    assert [sorted(store.values()) for store in world.held()] == [sorted(ALL.values())] * 2
    assert sorted(world.sent(0)) == sorted(ALL.values())
    assert run(documents[:1])["num_deleted"] == 2
    assert [list(store.values()) for store in world.held()] == [["Cats sleep."]] * 2


def test_what_cannot_be_paired_is_refused(world: World) -> None:
    store = world.stores[0]
    with pytest.raises(ConfigurationError, match="PairedStores: there is one store only"):
        PairedStores([store])
    with pytest.raises(ConfigurationError, match=r"targets\[1\] .* is FailoverEmbeddings; pass a"):
        PairedStores([store, store.embedding])
    with pytest.raises(ConfigurationError, match="1 ids for 3 documents"):
        world.paired.add_documents(DOCUMENTS, ids=["a"])
    with pytest.raises(ConfigurationError, match="delete needs a list of ids"):
        world.paired.delete()
    with pytest.raises(ConfigurationError, match="build each store, pass them all"):
        PairedStores.from_texts(["a"], store.embedding)
