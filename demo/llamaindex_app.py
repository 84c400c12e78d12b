"""The LlamaIndex application: a VectorStoreIndex and its query engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llama_index.core import PromptTemplate, StorageContext, VectorStoreIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]

from demo.app import POLICY, RERANKED, RETRIEVED, Answer, StoredVectors, client_target
from demo.corpus import Passage
from demo.servers import CHAT, RERANKER, SMALL, Fleet, Server
from failover_core import Target
from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank

_PROMPT = PromptTemplate("{context_str}\n\nQuestion: {query_str}")
_HIDDEN = ["topic"]  # what is embedded and read is the passage alone


class LlamaIndexApp:
    """A query engine whose embedding, reranker and LLM have failover over all three servers."""

    name = "LlamaIndex"

    def __init__(self, fleet: Fleet) -> None:
        embedding = FailoverEmbedding(
            targets=[client_target(server, SMALL) for server in fleet],
            policy=POLICY,
            embed_batch_size=32,
        )
        self._reranker = FailoverRerank(
            targets=[client_target(server, RERANKER) for server in fleet],
            top_n=RERANKED,
            policy=POLICY,
        )
        self._llm = FailoverLLM(
            targets=[Target(_llm(server), name=server.name) for server in fleet], policy=POLICY
        )
        self._vectors = SimpleVectorStore()
        self._index = VectorStoreIndex(
            nodes=[],
            storage_context=StorageContext.from_defaults(vector_store=self._vectors),
            embed_model=embedding,
        )
        self.routers = {
            "embedding": embedding.router,
            "reranker": self._reranker.router,
            "llm": self._llm.router,
        }

    def index(self, passages: Sequence[Passage]) -> None:
        """Embed the passages into the index."""
        self._index.insert_nodes([_node(passage) for passage in passages])

    def stored(self) -> list[StoredVectors]:
        """Return what the index holds."""
        vectors = self._vectors.data.embedding_dict
        texts = [node.get_content() for node in self._index.docstore.get_nodes(list(vectors))]
        return [StoredVectors(SMALL, texts, np.array(list(vectors.values())))]

    def ask(self, question: str) -> Answer:
        """Answer a question."""
        response: Any = self._engine().query(question)
        return _answer(response.response or "", response)

    def stream(self, question: str) -> Answer:
        """Answer a question with a stream."""
        response: Any = self._engine(streaming=True).query(question)
        return _answer("".join(response.response_gen), response)

    async def aask(self, question: str) -> Answer:
        """Answer a question."""
        response: Any = await self._engine().aquery(question)
        return _answer(response.response or "", response)

    async def astream(self, question: str) -> Answer:
        """Answer a question with a stream."""
        response: Any = await self._engine(streaming=True).aquery(question)
        text = "".join([piece async for piece in response.async_response_gen()])
        return _answer(text, response)

    def _engine(self, *, streaming: bool = False) -> BaseQueryEngine:
        return self._index.as_query_engine(
            llm=self._llm,
            similarity_top_k=RETRIEVED,
            node_postprocessors=[self._reranker],
            text_qa_template=_PROMPT,
            streaming=streaming,
        )


def _llm(server: Server) -> OpenAILike:
    return OpenAILike(
        model=CHAT,
        api_base=f"{server.url}/v1",
        api_key="none",
        is_chat_model=True,
        max_retries=0,
        timeout=5.0,
    )


def _node(passage: Passage) -> TextNode:
    return TextNode(
        text=passage.text,
        metadata={"topic": passage.topic},
        excluded_embed_metadata_keys=_HIDDEN,
        excluded_llm_metadata_keys=_HIDDEN,
    )


def _answer(text: str, response: Any) -> Answer:
    return Answer(text, tuple(found.node.metadata["topic"] for found in response.source_nodes))
