"""FailoverRetriever: LangChain's suite, and retrievers with indexes of their own."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests

from failover_core.errors import AllTargetsFailedError, ConfigurationError
from failover_core.testing import FaultServer
from langchain_failover import FailoverEmbeddings, FailoverRetriever, Target
from tests.langchain.children import Runs

Servers = tuple[FaultServer, FaultServer]
TEXTS = ["Cats sleep.", "Ships sail.", "Bread rises.", "Rain falls."]


def index(server: FaultServer) -> InMemoryVectorStore:
    embeddings = FailoverEmbeddings.from_urls(server.url, model="m")
    return InMemoryVectorStore.from_texts(TEXTS, embeddings)


class TestStandard(RetrieversIntegrationTests):
    """The suite, over two indexes, each embedded by a server of its own."""

    primary_is_dead = False

    @pytest.fixture(autouse=True)
    def _indexes(self, servers: Servers) -> None:
        self.retrievers = [index(server).as_retriever() for server in servers]
        if self.primary_is_dead:
            servers[0].stop()

    @property
    def retriever_constructor(self) -> type[FailoverRetriever]:
        return FailoverRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"targets": self.retrievers}

    @property
    def retriever_query_example(self) -> str:
        return "What do ships do?"


class TestStandardWithDeadPrimary(TestStandard):
    """The same, the first index's server dead."""

    primary_is_dead = True


class Broken(BaseRetriever):
    """Never finds anything."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise ConnectionError


@pytest.mark.parametrize("is_async", [False, True])
async def test_another_index_answers_with_an_embedding_of_its_own(
    is_async: bool,  # noqa: FBT001
) -> None:
    with FaultServer(dimension=64) as small, FaultServer(dimension=96) as large:
        targets = [Target(index(one).as_retriever(), name=str(one.port)) for one in (small, large)]
        retriever = FailoverRetriever(targets=targets)
        small.stop()

        query = "What do ships do?"
        found = await retriever.ainvoke(query) if is_async else retriever.invoke(query)

    assert found[0].page_content == "Ships sail."
    assert retriever.router.status().failed_over == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_childrens_runs_are_nested_in_one(is_async: bool, servers: Servers) -> None:  # noqa: FBT001
    retriever = FailoverRetriever(targets=[Broken(), index(servers[0]).as_retriever()])
    runs = Runs()
    config = RunnableConfig(callbacks=[runs])

    if is_async:
        await retriever.ainvoke("ships", config, k=2)
    else:
        retriever.invoke("ships", config, k=2)

    (_, outer, none), *inner = runs.started
    assert none is None
    assert [parent for _, _, parent in inner] == [outer, outer]


class Native(Broken):
    """Finds in the event loop alone, and notes where."""

    async def _aget_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document(str(threading.get_ident()))]


async def test_async_calls_stay_in_the_event_loop() -> None:
    found = await FailoverRetriever(targets=[Native()]).ainvoke("x")

    assert [one.page_content for one in found] == [str(threading.get_ident())]


def test_all_errors_are_told_when_no_retriever_can() -> None:
    with pytest.raises(AllTargetsFailedError) as caught:
        FailoverRetriever(targets=[Broken(), Broken()]).invoke("x")

    assert [type(error) for error in caught.value.exceptions] == [ConnectionError] * 2


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        (lambda _: [], r"targets\[1\] \('function'\) is function; pass RunnableLambda\(function\)"),
        (DeterministicFakeEmbedding(size=3), "pass a retriever, or another runnable from a query"),
        ("http://127.0.0.1:9", "is str; pass a retriever"),
    ],
)
def test_what_is_no_retriever_is_refused_with_a_remedy(target: Any, remedy: str) -> None:
    with pytest.raises(ConfigurationError, match=remedy):
        FailoverRetriever(targets=[Broken(), target])


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_query_that_is_no_text_is_refused_and_nobody_blamed(is_async: bool) -> None:  # noqa: FBT001
    retriever = FailoverRetriever(targets=[Broken()])
    query: Any = {"input": "x"}

    with pytest.raises(ConfigurationError, match="the query is dict; it must be a string"):
        await retriever.ainvoke(query) if is_async else retriever.invoke(query)

    assert retriever.router.status().targets[0].failures == 0
