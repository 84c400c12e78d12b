"""FailoverRetriever where applications put retrievers: chains, ensembles, agents, graphs."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.retrievers import EnsembleRetriever, MultiQueryRetriever
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, Runnable, RunnableConfig, RunnableLambda
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.errors import GraphBubbleUp, GraphInterrupt

from failover_core.testing import FaultServer, faults
from langchain_failover import (
    FailoverChatModel,
    FailoverEmbeddings,
    FailoverRetriever,
    Target,
)

Servers = tuple[FaultServer, FaultServer]
FACTS = [
    "The harbour of Ostend was dug in 1445.",
    "A copper kettle boils water faster than an iron one.",
    "The glacier loses two metres of ice every summer.",
]
QUESTION = "When was the harbour dug?"


@pytest.fixture(params=["healthy", "dead primary"])
def retriever(request: pytest.FixtureRequest, servers: Servers) -> FailoverRetriever:
    """Two indexes, each embedded by a server of its own."""
    stores = [_index(server) for server in servers]
    if request.param == "dead primary":
        servers[0].fault = faults.Refuse()
    targets = [Target(store.as_retriever(), name=name) for store, name in zip(stores, "ab")]  # noqa: B905 - two of each
    return FailoverRetriever(targets=targets, k=1)


def _index(server: FaultServer) -> InMemoryVectorStore:
    return InMemoryVectorStore.from_texts(
        FACTS, FailoverEmbeddings.from_urls(server.url, model="m")
    )


def chat(servers: Servers) -> FailoverChatModel:
    return FailoverChatModel.from_urls([server.url for server in servers], model="tiny")


async def ask(one: Runnable[Any, Any], given: Any, *args: Any, is_async: bool) -> Any:
    return await one.ainvoke(given, *args) if is_async else one.invoke(given, *args)


class Runs(BaseCallbackHandler):
    """Writes down the runs of retrievers."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.over: list[Any] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self.started.append(kwargs)

    def on_retriever_end(self, documents: Any, *, run_id: Any, **kwargs: Any) -> None:
        self.over.append(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: Any, **kwargs: Any) -> None:
        self.over.append(run_id)


class Raising(BaseRetriever):
    """Raises what it is told to."""

    error: Any = ConnectionError()

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise self.error


# Inside LangChain's own


async def test_in_a_retrieval_chain(
    is_async: bool,  # noqa: FBT001
    retriever: FailoverRetriever,
    servers: Servers,
) -> None:
    prompt = ChatPromptTemplate.from_template("{context}\n\nQuestion: {input}")
    chain = create_retrieval_chain(retriever, create_stuff_documents_chain(chat(servers), prompt))

    state = await ask(chain, {"input": QUESTION}, is_async=is_async)

    assert state["answer"] == FACTS[0]
    assert [one.page_content for one in state["context"]] == FACTS[:1]


async def test_in_an_ensemble(is_async: bool, retriever: FailoverRetriever) -> None:  # noqa: FBT001
    words: RunnableLambda[str, list[Document]] = RunnableLambda(lambda _: [Document(FACTS[2])])
    ensemble = EnsembleRetriever(retrievers=[retriever, words], weights=[0.9, 0.1])

    found = await ask(ensemble, QUESTION, is_async=is_async)

    assert [one.page_content for one in found] == [FACTS[0], FACTS[2]]


async def test_under_several_queries(is_async: bool, retriever: FailoverRetriever) -> None:  # noqa: FBT001
    asked = [QUESTION, "How fast does a kettle boil?", QUESTION]
    queries: RunnableLambda[dict[str, str], list[str]] = RunnableLambda(lambda _: asked)
    many = MultiQueryRetriever(retriever=retriever, llm_chain=queries)

    found = await ask(many, "What about them?", is_async=is_async)

    assert sorted(one.page_content for one in found) == sorted(FACTS[:2])


async def test_as_a_tool_of_an_agent(
    is_async: bool,  # noqa: FBT001
    retriever: FailoverRetriever,
    servers: Servers,
) -> None:
    from langchain.agents import create_agent  # noqa: PLC0415 - slow to import

    tool = create_retriever_tool(retriever, "search_facts", "Search facts about harbours.")
    agent: Any = create_agent(chat(servers), [tool])
    runs = Runs()

    question = {"messages": [("user", "Please use search_facts for 'harbour dug'")]}
    state = await ask(agent, question, {"callbacks": [runs]}, is_async=is_async)

    assert [one.type for one in state["messages"]] == ["human", "ai", "tool", "ai"]
    assert state["messages"][-1].content == FACTS[0]
    assert runs.started[0]["name"] == "FailoverRetriever"
    assert len(runs.over) == len(runs.started)


async def test_with_retry_fallbacks_config_and_batch_around_it(
    is_async: bool,  # noqa: FBT001
    retriever: FailoverRetriever,
) -> None:
    around = retriever.with_retry().with_fallbacks([RunnableLambda(lambda _: [])])
    around_all = around.with_config(tags=["x"])

    if is_async:
        found = await around_all.abatch([QUESTION] * 3)
    else:
        found = around_all.batch([QUESTION] * 3)

    assert [[one.page_content for one in each] for each in found] == [FACTS[:1]] * 3


# Runs, tags, metadata, configurable


async def test_runs_are_nested_and_closed_with_the_tags_and_metadata_of_both(
    is_async: bool,  # noqa: FBT001
) -> None:
    children = [
        Raising(tags=["first"], metadata={"of": "first"}),
        RunnableLambda(lambda _: []).with_config(tags=["plain"]),
    ]
    retriever = FailoverRetriever(
        targets=children, tags=["pool"], metadata={"of": "pool"}, name="facts"
    )
    runs = Runs()
    config = RunnableConfig(
        callbacks=[runs], tags=["call"], metadata={"user": "u1"}, run_name="search"
    )

    await ask(retriever, "x", config, is_async=is_async)

    outer, inner = runs.started
    assert (outer["name"], inner["name"]) == ("search", "Raising")
    assert inner["parent_run_id"] == outer["run_id"]
    assert sorted(outer["tags"]) == ["call", "pool"]
    assert sorted(inner["tags"]) == ["call", "first"]
    assert (outer["metadata"]["of"], inner["metadata"]["of"]) == ("pool", "first")
    assert outer["metadata"]["user"] == inner["metadata"]["user"] == "u1"
    assert sorted(runs.over) == sorted(run["run_id"] for run in runs.started)


async def test_a_stream_of_events_shows_the_pool_and_the_retriever_that_served(
    retriever: FailoverRetriever,
) -> None:
    chain = retriever | RunnableLambda(len)

    events = [event async for event in chain.astream_events(QUESTION, version="v2")]

    names = [event["name"] for event in events if event["event"] == "on_retriever_end"]
    assert names == ["VectorStoreRetriever", "FailoverRetriever"]


class Tenants(BaseRetriever):
    """Finds what belongs to one tenant."""

    tenant: str = "nobody"

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(f"of {self.tenant}")]


@pytest.mark.parametrize("k", [None, 1])
async def test_what_a_call_configures_holds_for_every_child(
    is_async: bool,  # noqa: FBT001
    k: int | None,
) -> None:
    child = Tenants().configurable_fields(tenant=ConfigurableField(id="tenant"))
    retriever = FailoverRetriever(targets=[Raising(), child], k=k)
    in_a_chain = retriever | RunnableLambda(lambda found: found)

    for one in (retriever, in_a_chain):
        found = await ask(one, "x", {"configurable": {"tenant": "anna"}}, is_async=is_async)
        assert [document.page_content for document in found] == ["of anna"]


@pytest.mark.parametrize("error", [GraphInterrupt(()), GraphBubbleUp()], ids=lambda e: repr(e)[:12])
async def test_what_steers_a_graph_passes_through_untouched(
    is_async: bool,  # noqa: FBT001
    error: BaseException,
) -> None:
    retriever = FailoverRetriever(targets=[Raising(error=error), RunnableLambda(lambda _: [])])

    with pytest.raises(GraphBubbleUp) as caught:
        await ask(retriever, "x", is_async=is_async)

    assert caught.value is error
    assert retriever.router.status().targets[0].failures == 0


# Copies


def test_copies_share_one_router(retriever: FailoverRetriever) -> None:
    for one in (
        retriever.model_copy(update={"k": 2}),
        copy.deepcopy(retriever),
        copy.copy(retriever),
    ):
        assert one.router is retriever.router
        assert one.invoke(QUESTION)[0].page_content == FACTS[0]


class Plain(BaseRetriever):
    """A retriever that can be pickled."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(fact) for fact in FACTS]


def test_a_pickle_has_the_settings_and_a_router_of_its_own() -> None:
    retriever = FailoverRetriever(targets=[Raising(), Target(Plain(), name="plain")], k=2)

    again = pickle.loads(pickle.dumps(retriever))  # noqa: S301

    assert again.router is not retriever.router
    assert [target.name for target in again.router.targets] == ["Raising", "plain"]
    assert len(again.invoke("x")) == 2


def test_alternatives_keep_what_each_has_learned(retriever: FailoverRetriever) -> None:
    plain = FailoverRetriever(targets=[Raising(), Plain()])
    alternatives = retriever.configurable_alternatives(ConfigurableField(id="which"), plain=plain)
    alternatives.invoke(QUESTION)

    for _ in range(2):
        assert len(alternatives.invoke("x", {"configurable": {"which": "plain"}})) == 3
    assert plain.router.status().targets[0].failures == 2


def test_an_answer_can_be_parsed_downstream(retriever: FailoverRetriever) -> None:
    chain = retriever | RunnableLambda(lambda found: found[0].page_content) | StrOutputParser()

    assert list(chain.stream(QUESTION)) == FACTS[:1]
