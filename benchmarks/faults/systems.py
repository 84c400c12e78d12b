"""Those who are put through the catalogue: this library's classes, and what people use otherwise.

Each is built over the URLs of two servers. All wait one second for an answer, and else do what
they do when they are set up as their documentation says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from benchmarks.peers.routers import MODEL, in_order
from langchain_failover import FailoverEmbeddings, FailoverReranker
from llamaindex_failover import FailoverEmbedding, FailoverRerank

SECONDS = 1.0

Vectors = Sequence[Sequence[float]]
Ranking = list[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class System:
    """Somebody who embeds and ranks; None for what it does not offer."""

    embed: Callable[[list[str]], Vectors] | None = None
    rerank: Callable[[str, list[str]], Ranking] | None = None


Build = Callable[[list[str]], System]


def systems() -> dict[str, Build]:
    """Return those that can be run here, ours first."""
    found: dict[str, Build] = {
        "ours, LangChain": lambda urls: _langchain(urls, is_async=False),
        "ours, LangChain async": lambda urls: _langchain(urls, is_async=True),
        "ours, LlamaIndex": lambda urls: _llamaindex(urls, is_async=False),
        "ours, LlamaIndex async": lambda urls: _llamaindex(urls, is_async=True),
    }
    for name, build in {
        "langchain-openai": _langchain_openai,
        "one after the other": _one_after_the_other,
        "llama-index OpenAI": _llamaindex_openai,
        "litellm Router": _litellm,
        "langchain-litellm's router": _langchain_litellm,
    }.items():
        with suppress(ImportError):
            build(["http://127.0.0.1:9", "http://127.0.0.1:9"])
            found[name] = build
    return found


def _langchain(urls: list[str], *, is_async: bool) -> System:
    policy = {"attempt_timeout": SECONDS}
    embeddings = FailoverEmbeddings.from_urls(urls, model=MODEL, policy=policy)
    reranker = FailoverReranker.from_urls(urls, model=MODEL, policy=policy)

    def embed(texts: list[str]) -> Vectors:
        if is_async:
            return asyncio.run(embeddings.aembed_documents(texts))
        return embeddings.embed_documents(texts)

    def rerank(query: str, documents: list[str]) -> Ranking:
        given = [Document(text, metadata={"place": n}) for n, text in enumerate(documents)]
        if is_async:
            ranked = asyncio.run(reranker.acompress_documents(given, query))
        else:
            ranked = reranker.compress_documents(given, query)
        return [(one.metadata["place"], one.metadata["relevance_score"]) for one in ranked]

    return System(embed, rerank)


def _llamaindex(urls: list[str], *, is_async: bool) -> System:
    policy = {"attempt_timeout": SECONDS}
    embedding = FailoverEmbedding.from_urls(urls, model=MODEL, policy=policy)
    reranker = FailoverRerank.from_urls(urls, model=MODEL, policy=policy, top_n=100)

    def embed(texts: list[str]) -> Vectors:
        if is_async:
            return asyncio.run(embedding.aget_text_embedding_batch(texts))
        return embedding.get_text_embedding_batch(texts)

    def rerank(query: str, documents: list[str]) -> Ranking:
        nodes = [
            NodeWithScore(node=TextNode(text=text, id_=str(place)))
            for place, text in enumerate(documents)
        ]
        if is_async:
            ranked = asyncio.run(reranker.apostprocess_nodes(nodes, query_str=query))
        else:
            ranked = reranker.postprocess_nodes(nodes, query_str=query)
        return [(int(one.node.node_id), float(one.score or 0)) for one in ranked]

    return System(embed, rerank)


def _openai(url: str) -> Any:
    options = {
        "model": MODEL,
        "base_url": f"{url}/v1",
        "api_key": "none",
        "timeout": SECONDS,
        "check_embedding_ctx_length": False,  # it would download a tokeniser
    }
    return import_module("langchain_openai").OpenAIEmbeddings(**options)


def _langchain_openai(urls: list[str]) -> System:
    return System(_openai(urls[0]).embed_documents)


def _one_after_the_other(urls: list[str]) -> System:
    """Return what most people write: try each, and take the first answer."""
    children = [_openai(url) for url in urls]

    def embed(texts: list[str]) -> Vectors:
        for child in children[:-1]:
            with suppress(Exception):
                return child.embed_documents(texts)  # type: ignore[no-any-return]
        return children[-1].embed_documents(texts)  # type: ignore[no-any-return]

    return System(embed)


def _llamaindex_openai(urls: list[str]) -> System:
    module = import_module("llama_index.embeddings.openai")
    child = module.OpenAIEmbedding(
        model_name=MODEL, api_base=f"{urls[0]}/v1", api_key="none", timeout=SECONDS
    )
    return System(child.get_text_embedding_batch)


def _litellm(urls: list[str]) -> System:
    router, rankers = in_order(urls, SECONDS), in_order(urls, SECONDS, provider="infinity")

    def embed(texts: list[str]) -> Vectors:
        answer = router.embedding(MODEL, texts)
        return [one["embedding"] for one in answer.data]

    async def ranked(query: str, documents: list[str]) -> Ranking:
        answer = await rankers.arerank(MODEL, query=query, documents=documents)
        return [(one["index"], one["relevance_score"]) for one in answer.results]

    return System(embed, lambda query, documents: asyncio.run(ranked(query, documents)))


def _langchain_litellm(urls: list[str]) -> System:
    build = import_module("langchain_litellm").LiteLLMEmbeddingsRouter
    return System(build(router=in_order(urls, SECONDS)).embed_documents)
