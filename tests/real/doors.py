"""The same work through either framework, sync and async: what the kill tests run."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec, TypeVar

from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeWithScore, TextNode

import langchain_failover
import llamaindex_failover
from failover_core.policy import FailoverPolicy
from failover_core.router import Router
from scripts.real_servers import EMBEDDING_MODEL, RERANK_MODEL

P = ParamSpec("P")
T = TypeVar("T")

# A busy machine may take long over a batch, and that is no failure of a server.
PATIENT = FailoverPolicy(attempt_timeout=300)

Ranking = list[tuple[str, float]]
"""Documents with their scores, best first."""


class Door(ABC):
    """One framework, entered by its sync methods, or with a runner by its async ones."""

    embeddings: Any
    reranker: Any

    def __init__(self, runner: asyncio.Runner | None) -> None:
        self.runner = runner

    def call(
        self,
        sync: Callable[P, T],
        aio: Callable[P, Coroutine[Any, Any, T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what one of two equal methods returns."""
        return self.runner.run(aio(*args, **kwargs)) if self.runner else sync(*args, **kwargs)

    @property
    def routers(self) -> tuple[Router, Router]:
        """The routers of the embeddings and of the reranker."""
        return self.embeddings.router, self.reranker.router

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return a vector per text."""

    @abstractmethod
    def index(self, texts: Sequence[str]) -> Callable[[str], str]:
        """Index the texts, and return a function from a question to the best of them."""

    @abstractmethod
    def rerank(self, query: str, documents: Sequence[str]) -> Ranking:
        """Return the documents, best first."""


class LangChainDoor(Door):
    """An in-memory vector store over ``FailoverEmbeddings``, and ``FailoverReranker``."""

    def __init__(self, urls: list[str], runner: asyncio.Runner | None, **settings: Any) -> None:
        super().__init__(runner)
        self.embeddings = langchain_failover.FailoverEmbeddings.from_urls(
            urls, model=EMBEDDING_MODEL, batch_size=32, policy=PATIENT, **settings
        )
        self.reranker = langchain_failover.FailoverReranker.from_urls(
            urls, model=RERANK_MODEL, policy=PATIENT
        )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return self.call(
            self.embeddings.embed_documents, self.embeddings.aembed_documents, list(texts)
        )

    def index(self, texts: Sequence[str]) -> Callable[[str], str]:
        store = InMemoryVectorStore(self.embeddings)
        self.call(store.add_texts, store.aadd_texts, list(texts))
        return lambda question: (
            self.call(store.similarity_search, store.asimilarity_search, question, k=1)[
                0
            ].page_content
        )

    def rerank(self, query: str, documents: Sequence[str]) -> Ranking:
        ranked = self.call(
            self.reranker.compress_documents,
            self.reranker.acompress_documents,
            [Document(text) for text in documents],
            query,
        )
        return [(found.page_content, found.metadata["relevance_score"]) for found in ranked]


class LlamaIndexDoor(Door):
    """A vector store index over ``FailoverEmbedding``, and ``FailoverRerank``."""

    def __init__(self, urls: list[str], runner: asyncio.Runner | None) -> None:
        super().__init__(runner)
        self.embeddings = llamaindex_failover.FailoverEmbedding.from_urls(
            urls, model=EMBEDDING_MODEL, embed_batch_size=32, policy=PATIENT
        )
        self.reranker = llamaindex_failover.FailoverRerank.from_urls(
            urls, model=RERANK_MODEL, policy=PATIENT
        )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return self.call(
            self.embeddings.get_text_embedding_batch,
            self.embeddings.aget_text_embedding_batch,
            list(texts),
        )

    def index(self, texts: Sequence[str]) -> Callable[[str], str]:
        index = VectorStoreIndex(
            [TextNode(text=text) for text in texts],
            embed_model=self.embeddings,
            use_async=self.runner is not None,
        )
        retriever = index.as_retriever(similarity_top_k=1)
        return lambda question: self.call(retriever.retrieve, retriever.aretrieve, question)[
            0
        ].get_content()

    def rerank(self, query: str, documents: Sequence[str]) -> Ranking:
        ranked = self.call(
            self.reranker.postprocess_nodes,
            self.reranker.apostprocess_nodes,
            [NodeWithScore(node=TextNode(text=text)) for text in documents],
            query_str=query,
        )
        return [(found.get_content(), found.score) for found in ranked]
