"""FailoverRetriever's ``k``: as many documents from every kind of child."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import Field

from failover_core.errors import ConfigurationError
from langchain_failover import FailoverRetriever

TEXTS = [f"Fact number {number}" for number in range(9)]
STORE = InMemoryVectorStore.from_texts(TEXTS, DeterministicFakeEmbedding(size=8))


class Broken(BaseRetriever):
    """Never finds anything."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        raise ConnectionError


class Fixed(BaseRetriever):
    """Finds as many as a field says; LangChain drops every argument of its calls."""

    k: int = 1
    asked_for: list[int] = Field(default_factory=list)

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        self.asked_for.append(self.k)
        return [Document(text) for text in TEXTS[: self.k]]


class Filtering(BaseRetriever):
    """Takes an argument that is not ``k``, and another field for its number."""

    top_k: int = 1

    def _get_relevant_documents(
        self, query: str, *, run_manager: Any, only: str = "Fact"
    ) -> list[Document]:
        return [Document(text) for text in TEXTS if only in text][: self.top_k]


def everything(_: str) -> list[Document]:
    return [Document(text) for text in TEXTS]


CHILDREN: dict[str, Runnable[str, list[Document]]] = {
    "argument": STORE.as_retriever(search_kwargs={"k": 1}),
    "field": Fixed(),
    "top_k": Filtering(),
    "binding of an argument": STORE.as_retriever().bind(k=1),
    "binding of a field": Fixed().with_config(tags=["field"]),
    "retry": Fixed().with_retry(),
    "configurable": Fixed().configurable_fields(k=ConfigurableField(id="other_k")),
    "function": RunnableLambda(everything),
    "ensemble": EnsembleRetriever(retrievers=[RunnableLambda(everything), Fixed()], weights=[1, 1]),
    "failover": FailoverRetriever(targets=[Fixed()]),
    "failover with k": FailoverRetriever(targets=[Fixed()], k=1),
}


@pytest.fixture(params=CHILDREN)
def child(request: pytest.FixtureRequest) -> Runnable[str, list[Document]]:
    return CHILDREN[request.param]


@pytest.fixture(params=[False, True], ids=["healthy", "dead primary"])
def dead(request: pytest.FixtureRequest) -> list[BaseRetriever]:
    """Targets before the one that is to answer."""
    return [Broken()] if request.param else []


async def count(retriever: FailoverRetriever, *, is_async: bool, **arguments: Any) -> int:
    if is_async:
        return len(await retriever.ainvoke("fact", **arguments))
    return len(retriever.invoke("fact", **arguments))


@pytest.mark.parametrize("is_async", [False, True])
async def test_every_kind_of_child_returns_as_many_as_the_constructor_or_the_call_says(
    is_async: bool,  # noqa: FBT001
    child: Runnable[str, list[Document]],
    dead: list[BaseRetriever],
) -> None:
    three = FailoverRetriever(targets=[*dead, child], k=3)
    unsaid = FailoverRetriever(targets=[*dead, child])

    assert await count(three, is_async=is_async) == 3
    assert await count(three, is_async=is_async, k=None) == 3
    assert await count(three, is_async=is_async, k=2) == 2
    assert await count(three, is_async=is_async, k=5) == 5
    assert await count(unsaid, is_async=is_async, k=4) == 4
    assert all(target.failures == 0 for target in three.router.status().targets[len(dead) :])


def test_without_k_each_child_keeps_its_own_number() -> None:
    targets = [STORE.as_retriever(search_kwargs={"k": 6}), Fixed()]

    assert len(FailoverRetriever(targets=targets).invoke("fact")) == 6
    assert len(FailoverRetriever(targets=targets[1:]).invoke("fact")) == 1


def test_the_users_object_keeps_its_own_k_and_is_asked_for_no_more_than_wanted() -> None:
    child = Fixed(k=7)

    FailoverRetriever(targets=[child], k=2).invoke("fact")

    assert child.k == 7
    assert child.asked_for == [2]


def test_other_arguments_reach_the_child_beside_k() -> None:
    retriever = FailoverRetriever(targets=[Filtering()], k=2)

    assert [one.page_content for one in retriever.invoke("fact", only="8")] == ["Fact number 8"]


@pytest.mark.parametrize("k", [0, -1, "3", 2.5, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_k_that_is_no_number_of_documents_is_refused_and_nobody_blamed(
    k: Any,
    is_async: bool,  # noqa: FBT001
) -> None:
    retriever = FailoverRetriever(targets=[Fixed()])

    with pytest.raises(ConfigurationError, match=r"FailoverRetriever: k is .* 1 or more, or None"):
        await count(retriever, is_async=is_async, k=k)

    assert retriever.router.status().targets[0].failures == 0


@pytest.mark.parametrize("k", [0, "x", 2.5])
def test_so_it_is_in_the_constructor(k: Any) -> None:
    with pytest.raises(ConfigurationError, match="FailoverRetriever: k: "):
        FailoverRetriever(targets=[Fixed()], k=k)


def test_a_configurable_k_shares_the_router() -> None:
    retriever = FailoverRetriever(targets=[Broken(), STORE.as_retriever()])
    configurable = retriever.configurable_fields(k=ConfigurableField(id="k"))

    found = [configurable.invoke("fact", {"configurable": {"k": k}}) for k in range(1, 8)]

    assert [len(one) for one in found] == [1, 2, 3, 4, 5, 6, 7]
    assert retriever.router.status().targets[0].failures == 5, "then it was ejected"
