"""The LangChain application: two indexes, a reranker and a chat model in one chain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.messages import AIMessage
from langchain_core.prompt_values import PromptValue
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from demo.app import POLICY, RERANKED, RETRIEVED, Answer, StoredVectors, client_target
from demo.corpus import Passage
from demo.servers import CHAT, LARGE, RERANKER, SMALL, Fleet, Server
from failover_core import Target
from langchain_failover import (
    FailoverChatModel,
    FailoverEmbeddings,
    FailoverReranker,
    FailoverRetriever,
)

_PROMPT = ChatPromptTemplate.from_template("{context}\n\nQuestion: {question}")

_RETRIEVER_POLICY = POLICY.model_copy(update={"attempt_timeout": None})
"""An index has two servers to try, each with a timeout of its own: a third one around both
would end the attempt before the second server had its turn."""


class LangChainApp:
    """A chain whose every step has failover.

    The first index is embedded by the small model, on alpha or bravo. The second is embedded by
    the large model, which only charlie has: vectors of two models never meet in one index, so
    the retriever fails over from the whole index to the other.
    """

    name = "LangChain"

    def __init__(self, fleet: Fleet) -> None:
        small = _embeddings(SMALL, fleet.alpha, fleet.bravo)
        large = _embeddings(LARGE, fleet.charlie)
        self._small, self._large = InMemoryVectorStore(small), InMemoryVectorStore(large)
        search = {"search_kwargs": {"k": RETRIEVED}}
        self._retriever = FailoverRetriever(
            targets=[
                Target(self._small.as_retriever(**search), name="small index"),
                Target(self._large.as_retriever(**search), name="large index"),
            ],
            policy=_RETRIEVER_POLICY,
        )
        self._reranker = FailoverReranker(
            targets=[client_target(server, RERANKER) for server in fleet],
            top_n=RERANKED,
            policy=POLICY,
        )
        self._chat = FailoverChatModel(
            targets=[Target(_chat_model(server), name=server.name) for server in fleet],
            policy=POLICY,
        )
        self._chain = self._built()
        self.routers = {
            "retriever": self._retriever.router,
            "small embedder": small.router,
            "large embedder": large.router,
            "reranker": self._reranker.router,
            "chat": self._chat.router,
        }

    def index(self, passages: Sequence[Passage]) -> None:
        """Embed the passages into both indexes."""
        documents = [Document(one.text, metadata={"topic": one.topic}) for one in passages]
        for store in (self._small, self._large):
            store.add_documents(documents)

    def stored(self) -> list[StoredVectors]:
        """Return what both indexes hold."""
        return [_stored(SMALL, self._small), _stored(LARGE, self._large)]

    def ask(self, question: str) -> Answer:
        """Answer a question."""
        return _answer(self._chain.invoke({"question": question}))

    def stream(self, question: str) -> Answer:
        """Answer a question with a stream."""
        return _answer(_merged(self._chain.stream({"question": question})))

    async def aask(self, question: str) -> Answer:
        """Answer a question."""
        return _answer(await self._chain.ainvoke({"question": question}))

    async def astream(self, question: str) -> Answer:
        """Answer a question with a stream."""
        chunks = self._chain.astream({"question": question})
        return _answer(_merged([chunk async for chunk in chunks]))

    def _built(self) -> Runnable[dict[str, Any], dict[str, Any]]:
        found = (
            RunnableLambda[dict[str, Any], str](lambda state: state["question"]) | self._retriever
        )
        best = RunnableLambda(self._rerank, afunc=self._arerank)
        return (
            RunnablePassthrough.assign(documents=found)
            | RunnablePassthrough.assign(documents=best)
            | RunnablePassthrough.assign(message=RunnableLambda(_prompt) | self._chat)
        )

    def _rerank(self, state: dict[str, Any]) -> Sequence[Document]:
        return self._reranker.compress_documents(state["documents"], state["question"])

    async def _arerank(self, state: dict[str, Any]) -> Sequence[Document]:
        return await self._reranker.acompress_documents(state["documents"], state["question"])


def _embeddings(model: str, *servers: Server) -> FailoverEmbeddings:
    return FailoverEmbeddings(
        targets=[client_target(server, model) for server in servers], policy=POLICY, batch_size=32
    )


def _chat_model(server: Server) -> ChatOpenAI:
    return ChatOpenAI(
        base_url=f"{server.url}/v1", model=CHAT, api_key=SecretStr("none"), max_retries=0, timeout=5
    )


def _prompt(state: dict[str, Any]) -> PromptValue:
    context = "\n\n".join(document.page_content for document in state["documents"])
    return _PROMPT.invoke({"context": context, "question": state["question"]})


def _merged(chunks: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Join the text of a stream's messages; of every other key, the last value counts."""
    merged: dict[str, Any] = {}
    text = ""
    for chunk in chunks:
        merged |= chunk
        if "message" in chunk:
            text += chunk["message"].text
    return merged | {"message": AIMessage(text)}


def _answer(state: dict[str, Any]) -> Answer:
    topics = tuple(document.metadata["topic"] for document in state["documents"])
    return Answer(state["message"].text, topics)


def _stored(model: str, store: InMemoryVectorStore) -> StoredVectors:
    records = store.store.values()
    return StoredVectors(
        model,
        [record["text"] for record in records],
        np.array([record["vector"] for record in records]),
    )
