"""The parts of a RAG application, bare over one server or as pools over two, and what they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload
from llama_index.core.callbacks.token_counting import TokenCountingHandler
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.llms.llm import LLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ConfigDict

from failover_core import Target
from failover_core.clients import InfinityClient
from failover_core.embedding import Kind
from failover_core.testing import FaultServer
from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank, FailoverRetriever
from llamaindex_failover.url_llm import llms_from_urls
from tests.llamaindex.listening import Heard, Tally, listening

FACTS = [
    "The lighthouse keeper lights the lamp at dusk.",
    "The fisherman mends his net in the harbour.",
    "The baker bakes bread before the sun rises.",
    "The gardener plants roses along the wall.",
]
ONE_FAILURE_EJECTS = {"breaker": {"consecutive_failures": 1, "cooldown": 300, "max_cooldown": 300}}


class BareEmbedding(BaseEmbedding):
    """An embedding of LlamaIndex over one server."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    client: Any

    def _get_query_embedding(self, query: str) -> list[float]:
        return _lists(self.client.embed([query], Kind.QUERY))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return _lists(await self.client.aembed([query], Kind.QUERY))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return _lists(self.client.embed(texts, Kind.PASSAGE))


class BareRerank(BaseNodePostprocessor):
    """A reranker of LlamaIndex over one server, which reports as those of vendors do."""

    client: Any
    model: str = "m"
    top_n: int = 2

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        assert query_bundle is not None
        dispatcher = get_dispatcher(__name__)
        dispatcher.event(
            ReRankStartEvent(
                query=query_bundle, nodes=nodes, top_n=self.top_n, model_name=self.model
            )
        )
        payload: dict[str, Any] = {EventPayload.QUERY_STR: query_bundle.query_str}
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
            ranked = self.client.rerank(query_bundle.query_str, texts, min(self.top_n, len(texts)))
            best = [NodeWithScore(node=nodes[one.index].node, score=one.score) for one in ranked]
            event.on_end(payload={EventPayload.NODES: best})
        dispatcher.event(ReRankEndEvent(nodes=best))
        return best


def _lists(vectors: Any) -> list[list[float]]:
    return [list(map(float, vector)) for vector in vectors]


@dataclass
class Stack:
    """An LLM, an embedding, a reranker and a retriever, which report to one callback manager."""

    llm: LLM
    embedding: BaseEmbedding
    rerank: BaseNodePostprocessor
    retriever: BaseRetriever
    manager: CallbackManager
    tokens: TokenCountingHandler
    tally: Tally


@dataclass
class Observed:
    """What an application did: its answers, and all that listeners heard of it."""

    answers: list[Any]
    events: list[str]
    started: Counter[str]
    ended: Counter[str]
    tokens: tuple[int, int, int]


class Stacks:
    """Makes stacks over servers, and closes them.

    Args:
        servers: whose second one serves the bare stacks.
    """

    def __init__(self, servers: Sequence[FaultServer]) -> None:
        self._servers = servers
        self._exit = ExitStack()
        nodes = [TextNode(text=fact, id_=str(place)) for place, fact in enumerate(FACTS)]
        embedding = BareEmbedding(client=self._client(servers[1]), model_name="m")
        for node, vector in zip(nodes, embedding.get_text_embedding_batch(FACTS), strict=True):
            node.embedding = vector
        self._nodes = nodes

    def close(self) -> None:
        self._exit.close()

    def bare(self) -> Stack:
        """Return the plain objects of LlamaIndex over the second server."""
        return self._wired(*self._children(self._servers[1]))

    def pooled(self, *, over: str = "objects") -> Stack:
        """Return pools over both servers; targets that are objects are named a and b.

        Args:
            over: ``"objects"``, the plain ones, or ``"URLs"``.
        """
        parts = [self._children(server) for server in self._servers]
        llm, embedding, rerank, retriever = zip(*parts, strict=True)
        urls = [server.url for server in self._servers]
        policy: Any = ONE_FAILURE_EJECTS
        if over == "objects":
            embeddings = FailoverEmbedding(targets=_named(embedding), policy=policy)
            reranks = FailoverRerank(targets=_named(rerank), policy=policy)
        else:
            embeddings = FailoverEmbedding.from_urls(urls, model="m", policy=policy)
            reranks = FailoverRerank.from_urls(urls, model="m", top_n=2, policy=policy)
        for one in retriever:
            one._embed_model = embeddings
        pools = (
            FailoverLLM(targets=_named(llm), policy=policy),
            embeddings,
            reranks,
            FailoverRetriever(_named(retriever), policy=policy),
        )
        for pool in pools:
            self._exit.callback(pool.router.close)
        return self._wired(*pools)

    def _children(self, server: FaultServer) -> tuple[Any, ...]:
        (llm,) = llms_from_urls(server.url + "/v1", model="m", is_function_calling_model=True)
        self._exit.callback(llm.close)
        client = self._client(server)
        embedding = BareEmbedding(client=client, model_name="m")
        index = VectorStoreIndex(self._nodes, embed_model=embedding)
        retriever = index.as_retriever(similarity_top_k=3)
        return llm, embedding, BareRerank(client=client), retriever

    def _client(self, server: FaultServer) -> InfinityClient:
        client = InfinityClient(server.url, model="m")
        self._exit.callback(client.close)
        return client

    def _wired(self, llm: Any, embedding: Any, rerank: Any, retriever: Any) -> Stack:
        tokens, tally = TokenCountingHandler(tokenizer=str.split), Tally()
        manager = CallbackManager([tokens, tally])
        for part in (llm, embedding, rerank, retriever):
            part.callback_manager = manager
        return Stack(llm, embedding, rerank, retriever, manager, tokens, tally)


def _named(children: Sequence[Any]) -> list[Target]:
    return [Target(child, name=name) for child, name in zip(children, "ab", strict=True)]


async def observed(run: Callable[[Stack], Any], stack: Stack) -> Observed:
    """Run an application and return what it did."""
    stack.tokens.reset_counts()
    stack.tally.starts.clear()
    stack.tally.ends.clear()
    with listening() as heard:
        answers = await run(stack)
    return Observed(
        answers,
        _names(heard),
        Counter(stack.tally.starts),
        Counter(stack.tally.ends),
        (
            stack.tokens.prompt_llm_token_count,
            stack.tokens.completion_llm_token_count,
            stack.tokens.total_embedding_token_count,
        ),
    )


def _names(heard: Heard) -> list[str]:
    return [event.class_name() for event in heard.events]
