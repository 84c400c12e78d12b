"""What people embed a corpus with, over servers that may die. Nothing of ours is imported here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from itertools import chain
from typing import Any

from benchmarks.harness.turns import loop
from benchmarks.peers.chat import LANGCHAIN_LITELLM, LITELLM
from benchmarks.peers.pairs import embeddings
from benchmarks.peers.routers import MODEL, in_a_group

BATCH = 256
_SECONDS = 60.0

Vectors = Any
"""A list of vectors, or an array with a row for each."""

Embed = Callable[[list[str]], Vectors]
Build = Callable[[list[str]], Embed]
"""Of the servers' URLs."""


def in_batches(texts: list[str]) -> list[list[str]]:
    """Return the texts as requests take them."""
    return [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]


def _by_a_loop(urls: list[str]) -> Embed:
    children = embeddings(urls, _SECONDS)
    return lambda texts: _joined(_first(children, batch) for batch in in_batches(texts))


def _by_threads(urls: list[str]) -> Embed:
    """Return a loop in as many threads as servers, each batch beginning at the next server."""
    children = embeddings(urls, _SECONDS)
    size = len(children)

    def one(number: int, batch: list[str]) -> Vectors:
        start = number % size
        return _first(children[start:] + children[:start], batch)

    def embed(texts: list[str]) -> Vectors:
        batches = in_batches(texts)
        with ThreadPoolExecutor(size) as threads:
            return _joined(threads.map(one, range(len(batches)), batches))

    return embed


def _first(children: list[Any], batch: list[str]) -> Vectors:
    """Return the answer of the first child that has one."""
    for child in children[:-1]:
        with suppress(Exception):
            return child.embed_documents(batch)
    return children[-1].embed_documents(batch)


def _by_fallbacks(urls: list[str]) -> Embed:
    build = import_module("langchain_core.runnables").RunnableLambda
    first, *others = [build(child.embed_documents) for child in embeddings(urls, _SECONDS)]
    runnable, settings = first.with_fallbacks(others), {"max_concurrency": len(urls)}
    return lambda texts: _joined(runnable.batch(in_batches(texts), settings))


def _by_llamaindex(urls: list[str]) -> Embed:
    one = import_module("llama_index.embeddings.openai").OpenAIEmbedding(
        model_name=MODEL,
        api_base=urls[0],
        api_key="none",
        embed_batch_size=BATCH,
        num_workers=2 * len(urls),
        max_retries=0,
    )
    return lambda texts: loop().run(one.aget_text_embedding_batch(texts))


def _by_litellm(urls: list[str]) -> Embed:
    router = in_a_group(urls, _SECONDS)

    async def one(batch: list[str]) -> Vectors:
        answer = await router.aembedding(MODEL, batch)
        return [item["embedding"] for item in answer.data]

    return lambda texts: _gathered(one, texts)


def _by_langchain_litellm(urls: list[str]) -> Embed:
    build = import_module("langchain_litellm").LiteLLMEmbeddingsRouter
    one = build(router=in_a_group(urls, _SECONDS))
    return lambda texts: _gathered(one.aembed_documents, texts)


def _gathered(embed: Callable[[list[str]], Awaitable[Vectors]], texts: list[str]) -> Vectors:
    async def gather() -> list[Vectors]:
        return await asyncio.gather(*map(embed, in_batches(texts)))

    return _joined(loop().run(gather()))


def _joined(batches: Any) -> Vectors:
    return list(chain.from_iterable(batches))


PEERS: dict[str, Build] = {
    "langchain-openai, a loop": _by_a_loop,
    "langchain-openai, a loop in threads": _by_threads,
    "langchain-openai, .with_fallbacks().batch()": _by_fallbacks,
    "llama-index OpenAI, num_workers": _by_llamaindex,
    LITELLM: _by_litellm,
    LANGCHAIN_LITELLM: _by_langchain_litellm,
}
