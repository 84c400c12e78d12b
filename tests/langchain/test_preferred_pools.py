"""A call may name the target to try first: of a retriever, or of every pool in its chain."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore

from failover_core.errors import ConfigurationError
from failover_core.testing import FaultServer
from langchain_failover import FailoverEmbeddings, FailoverReranker, FailoverRetriever, Target

Servers = tuple[FaultServer, FaultServer]


@pytest.fixture
def retriever() -> FailoverRetriever:
    """Two retrievers that answer with their names."""
    return FailoverRetriever(targets=[_named("a"), _named("b")])


def _named(name: str) -> Target:
    found: RunnableLambda[str, list[Document]] = RunnableLambda(lambda _: [Document(name)])
    return Target(found, name=name)


async def served(
    retriever: Runnable[str, Any], config: Any = None, *, is_async: bool, **arguments: Any
) -> str:
    if is_async:
        found = await retriever.ainvoke("x", config, **arguments)
    else:
        found = retriever.invoke("x", config, **arguments)
    return str(found[0].page_content)


async def test_the_preferred_retriever_is_asked_first(
    is_async: bool,  # noqa: FBT001
    retriever: FailoverRetriever,
) -> None:
    by_config = {"configurable": {"failover": "b"}}

    assert await served(retriever, is_async=is_async) == "a"
    assert await served(retriever, is_async=is_async, preferred_target="b") == "b"
    assert await served(retriever.bind(preferred_target="b"), is_async=is_async) == "b"
    assert await served(retriever, by_config, is_async=is_async) == "b"
    assert await served(retriever, by_config, is_async=is_async, preferred_target="a") == "a"


async def test_a_name_that_the_pool_does_not_have_is_refused_or_is_another_pools(
    is_async: bool,  # noqa: FBT001
    retriever: FailoverRetriever,
) -> None:
    of_another_pool = {"configurable": {"failover": "gpt"}}

    assert await served(retriever, of_another_pool, is_async=is_async) == "a"
    with pytest.raises(ConfigurationError, match="gpt"):
        await served(retriever, is_async=is_async, preferred_target="gpt")


async def test_the_config_of_a_chain_reaches_the_embeddings_and_the_reranker_in_it(
    is_async: bool,  # noqa: FBT001
    servers: Servers,
) -> None:
    targets = [Target(server.url, name=name) for server, name in zip(servers, "ab", strict=True)]
    embeddings = FailoverEmbeddings(targets=targets, model="m")
    store = InMemoryVectorStore.from_texts(["one fact", "another fact"], embeddings)
    embeddings.embed_query("fact")  # the reference is the first target's, whoever is preferred
    chain = ContextualCompressionRetriever(
        base_compressor=FailoverReranker(targets=targets, model="m"),
        base_retriever=store.as_retriever(),
    ) | RunnableLambda(len)
    for server in servers:
        server.clear()

    config: Any = {"configurable": {"failover": "b"}}
    found = await chain.ainvoke("fact", config) if is_async else chain.invoke("fact", config)

    assert found == 2
    assert [[one.path for one in server.requests] for server in servers] == [
        [],
        ["/embeddings", "/rerank"],
    ]
