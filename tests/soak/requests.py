"""What an application asks of the eight framework classes, and whether the answer is right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
from langchain_core.documents import Document
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import NodeWithScore, TextNode

import langchain_failover as lc
import llamaindex_failover as li
from failover_core.clients import InfinityClient
from failover_core.embedding import Kind
from failover_core.testing import FaultServer

_TEXTS = [f"Lighthouse number {n} stands on a rock in the {n}th bay." for n in range(8)]
_QUERY = "Which rock does lighthouse number 3 stand on?"
_ANSWER = f"You said: {_QUERY}"

Sync = Callable[[], None]
Async = Callable[[], Awaitable[None]]


class Application:
    """The framework classes over some servers, and requests with known answers.

    Attributes:
        sync: requests that raise AssertionError if the answer is wrong.
        asynchronous: the same for a running loop.
    """

    def __init__(self, servers: Sequence[FaultServer], policy: dict[str, Any]) -> None:
        urls = [server.url for server in servers]
        chat_urls = [f"{url}/v1" for url in urls]
        of_texts: dict[str, Any] = {"model": "minilm", "policy": policy}
        self._expected = InfinityClient(urls[0], model="minilm").embed(_TEXTS, Kind.PASSAGE)
        self._lc_embeddings = lc.FailoverEmbeddings.from_urls(urls, dimension=384, **of_texts)
        self._li_embedding = li.FailoverEmbedding.from_urls(urls, dimension=384, **of_texts)
        self._lc_reranker = lc.FailoverReranker.from_urls(urls, top_n=3, **of_texts)
        self._li_rerank = li.FailoverRerank.from_urls(urls, top_n=3, **of_texts)
        self._model = lc.FailoverChatModel.from_urls(chat_urls, timeout=3, **of_texts)
        self._llm = li.FailoverLLM.from_urls(chat_urls, timeout=3, **of_texts)
        self._documents = [Document(page_content=text) for text in _TEXTS]
        self._nodes = [NodeWithScore(node=TextNode(text=text)) for text in _TEXTS]
        self._message = [ChatMessage(role="user", content=_QUERY)]
        self.sync: list[Sync] = [
            lambda: self._vectors(self._lc_embeddings.embed_documents(_TEXTS)),
            lambda: self._vectors(self._li_embedding.get_text_embedding_batch(_TEXTS)),
            lambda: self._ranked(self._lc_reranker.compress_documents(self._documents, _QUERY)),
            lambda: self._nodes_ranked(
                self._li_rerank.postprocess_nodes(self._nodes, query_str=_QUERY)
            ),
            lambda: _said(self._model.invoke(_QUERY).content),
            lambda: _said("".join(chunk.text for chunk in self._model.stream(_QUERY))),
            lambda: _said(self._llm.chat(self._message).message.content),
            lambda: _said("".join(c.delta or "" for c in self._llm.stream_chat(self._message))),
        ]
        self.asynchronous: list[Async] = [
            self._aembed_langchain,
            self._aembed_llamaindex,
            self._arank_langchain,
            self._arank_llamaindex,
            self._achat_langchain,
            self._astream_langchain,
            self._achat_llamaindex,
            self._astream_llamaindex,
        ]

    @property
    def routers(self) -> list[Any]:
        """The routers of all classes."""
        classes = (
            self._lc_embeddings,
            self._li_embedding,
            self._lc_reranker,
            self._li_rerank,
            self._model,
            self._llm,
        )
        return [each.router for each in classes]

    async def _aembed_langchain(self) -> None:
        self._vectors(await self._lc_embeddings.aembed_documents(_TEXTS))

    async def _aembed_llamaindex(self) -> None:
        self._vectors(await self._li_embedding.aget_text_embedding_batch(_TEXTS))

    async def _arank_langchain(self) -> None:
        self._ranked(await self._lc_reranker.acompress_documents(self._documents, _QUERY))

    async def _arank_llamaindex(self) -> None:
        ranked = await self._li_rerank.apostprocess_nodes(self._nodes, query_str=_QUERY)
        self._nodes_ranked(ranked)

    async def _achat_langchain(self) -> None:
        _said((await self._model.ainvoke(_QUERY)).content)

    async def _astream_langchain(self) -> None:
        _said("".join([chunk.text async for chunk in self._model.astream(_QUERY)]))

    async def _achat_llamaindex(self) -> None:
        _said((await self._llm.achat(self._message)).message.content)

    async def _astream_llamaindex(self) -> None:
        stream = await self._llm.astream_chat(self._message)
        _said("".join([chunk.delta or "" async for chunk in stream]))

    def _vectors(self, vectors: Sequence[Sequence[float]]) -> None:
        assert np.array_equal(np.asarray(vectors, np.float32), self._expected)

    def _ranked(self, documents: Sequence[Document]) -> None:
        assert len(documents) == 3
        assert documents[0].page_content == _TEXTS[3]

    def _nodes_ranked(self, nodes: Sequence[NodeWithScore]) -> None:
        assert len(nodes) == 3
        assert nodes[0].node.get_content() == _TEXTS[3]


def _said(text: object) -> None:
    assert text == _ANSWER
