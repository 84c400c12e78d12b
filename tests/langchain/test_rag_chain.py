"""A whole retrieval chain of LangChain's own parts that outlives its servers."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore

from failover_core.testing import Fault, FaultServer, faults
from langchain_failover import (
    FailoverChatModel,
    FailoverEmbeddings,
    FailoverReranker,
    FailoverRetriever,
)
from tests.langchain.conftest import Door

FACTS = {
    "harbour": "The harbour of Ostend was dug in 1445.",
    "kettle": "A copper kettle boils water faster than an iron one.",
    "glacier": "The glacier loses two metres of ice every summer.",
    "violin": "A violin has four strings tuned in fifths.",
    "beaver": "A beaver fells trees to dam the river.",
}
PROMPT = ChatPromptTemplate.from_template("{context}\n\nQuestion: {question}")


@pytest.fixture
def chain(servers: tuple[FaultServer, FaultServer]) -> Runnable[str, Any]:
    """Embeddings, index, reranker and chat model, each over both servers."""
    urls = [server.url for server in servers]
    embeddings = FailoverEmbeddings.from_urls(urls, model="m")
    index = InMemoryVectorStore.from_texts(list(FACTS.values()), embeddings)
    retriever = ContextualCompressionRetriever(
        base_compressor=FailoverReranker.from_urls(urls, model="m", top_n=2),
        base_retriever=FailoverRetriever(targets=[index.as_retriever(search_kwargs={"k": 4})]),
    )
    chat = FailoverChatModel.from_urls(urls, model="m")
    context = retriever | _joined
    return {"context": context, "question": RunnablePassthrough()} | PROMPT | chat


def _joined(documents: list[Document]) -> str:
    return "\n".join(map(attrgetter("page_content"), documents))


def questions(rounds: int) -> Iterator[tuple[str, str]]:
    for _ in range(rounds):
        for word, fact in FACTS.items():
            yield f"What about the {word}?", fact


async def test_no_question_is_lost_while_servers_die_and_return(
    door: Door, chain: Runnable[str, Any], servers: tuple[FaultServer, FaultServer]
) -> None:
    first, second = servers
    acts = {
        2: first.stop,
        8: first.start,
        9: second.stop,
        14: second.start,
    }
    moods: dict[int, Fault | None] = {16: faults.Status(500), 19: faults.RetryAfter(1), 22: None}

    for turn, (question, fact) in enumerate(questions(5)):
        acts.get(turn, lambda: None)()
        if turn in moods:
            first.fault = moods[turn]
        answer = await door(chain, question)
        assert answer.content == fact


def test_a_batch_is_answered_in_order_while_a_server_dies(
    chain: Runnable[str, Any], servers: tuple[FaultServer, FaultServer]
) -> None:
    servers[0].script([None] * 10 + [faults.Reset()] * 40)
    asked, expected = zip(*questions(4), strict=True)

    answers = chain.batch(list(asked))

    assert tuple(answer.content for answer in answers) == expected


async def test_an_agent_calls_its_tool_and_answers_with_a_dead_primary(
    servers: tuple[FaultServer, FaultServer],
) -> None:
    from langchain.agents import create_agent  # noqa: PLC0415 - slow to import

    def temperature_outside(city: str) -> str:
        """Tell the temperature outside."""
        return f"It is 7 degrees in {city}."

    servers[0].stop()
    chat = FailoverChatModel.from_urls([server.url for server in servers], model="m")
    agent = create_agent(chat, [temperature_outside])

    question: Any = {"messages": [("user", "What is the temperature in 'Ghent'?")]}
    state = await agent.ainvoke(question)

    assert state["messages"][-1].content == "It is 7 degrees in Ghent."
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"]
