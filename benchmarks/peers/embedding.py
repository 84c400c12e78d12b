"""Those who embed otherwise: bare httpx, and the classes of others."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from operator import itemgetter
from typing import Any

import httpx
import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from numpy.typing import NDArray
from typing_extensions import override

from benchmarks.harness.turns import Turn
from benchmarks.peers.jobs import Job, async_turn, sync_turn
from benchmarks.servers import texts

ARRAY = "httpx + base64 + numpy"
LISTS = f"{ARRAY}, as lists"
BRIDGED = f"httpx-aiohttp{LISTS.removeprefix('httpx')}"
WITHIN = f"{LISTS}, within a BaseEmbedding"
LANGCHAIN_OPENAI = "langchain-openai"
LLAMAINDEX_OPENAI = "llama-index OpenAI"
LITELLM = "litellm"

QUERY = "What does the pilot count?"
BATCH = 256
_SECONDS = 60
_KEEPING = httpx.Limits(max_connections=512, max_keepalive_connections=512)
"""By default httpx keeps 20 connections, and opens the others anew for each call."""


@dataclass(frozen=True, slots=True)
class Embeds:
    """How a contestant embeds many passages, and one query."""

    documents: Callable[[list[str]], object]
    adocuments: Callable[[list[str]], Awaitable[object]]
    query: Callable[[str], object]
    aquery: Callable[[str], Awaitable[object]]


def embed_turn(one: Embeds, job: Job) -> Turn:
    """Return a contestant's turn of a job."""
    door = getattr(one, job.door)
    turn = async_turn if job.is_async else sync_turn
    if job.door.endswith("query"):
        # All differ: who asks for one text twice at a time may have it sent once.
        numbers = count()
        return turn(lambda: door(f"{next(numbers):08d} {QUERY}"), job)
    given = texts(job.size)
    return turn(lambda: door(given), job)


def peer_turn(name: str, url: str, job: Job) -> Turn:
    """Return a peer's turn; a worker calls this."""
    return embed_turn(PEERS[name](url), job)


def _bare(
    url: str,
    finish: Callable[[NDArray[np.float32]], object],
    build: Callable[..., httpx.AsyncClient] = httpx.AsyncClient,
) -> Embeds:
    plain = httpx.Client(timeout=_SECONDS, limits=_KEEPING)
    shared = build(timeout=_SECONDS, limits=_KEEPING)

    def sync(given: list[str]) -> object:
        parts = [_vectors(plain.post(**_request(url, part))) for part in _batches(given)]
        return finish(np.concatenate(parts))

    async def concurrent(given: list[str]) -> object:
        parts = [_vectors(await shared.post(**_request(url, part))) for part in _batches(given)]
        return finish(np.concatenate(parts))

    return Embeds(sync, concurrent, lambda text: sync([text]), lambda text: concurrent([text]))


def _request(url: str, given: list[str]) -> dict[str, Any]:
    body = {"model": "m", "input": given, "encoding_format": "base64"}
    return {"url": f"{url}/embeddings", "json": body}


def _batches(given: list[str]) -> list[list[str]]:
    return [given[start : start + BATCH] for start in range(0, len(given), BATCH)]


def _vectors(response: httpx.Response) -> NDArray[np.float32]:
    items = response.json()["data"]
    items.sort(key=itemgetter("index"))
    packed = [base64.b64decode(item["embedding"]) for item in items]
    return np.stack([np.frombuffer(each, np.float32) for each in packed])


class Within(BaseEmbedding):
    """What LlamaIndex makes of a bare loop: its events copy every vector, whoever embeds."""

    bare: Embeds

    @override
    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self.bare.documents(texts)  # type: ignore[return-value]

    @override
    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self.bare.adocuments(texts)  # type: ignore[return-value]

    @override
    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    @override
    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    @override
    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._aget_text_embeddings([query]))[0]


def of_langchain(one: Any) -> Embeds:
    """Return the doors of LangChain's embeddings."""
    return Embeds(one.embed_documents, one.aembed_documents, one.embed_query, one.aembed_query)


def of_llamaindex(one: Any) -> Embeds:
    """Return the doors of a LlamaIndex embedding."""
    return Embeds(
        one.get_text_embedding_batch,
        one.aget_text_embedding_batch,
        one.get_query_embedding,
        one.aget_query_embedding,
    )


def _lists(vectors: NDArray[np.float32]) -> object:
    return vectors.tolist()


def _bridged(url: str) -> Embeds:
    return _bare(url, _lists, import_module("httpx_aiohttp").HttpxAiohttpClient)


def langchain_openai(url: str) -> Any:
    """Return LangChain's class for servers that speak as OpenAI's."""
    options = {
        "model": "m",
        "base_url": url,
        "api_key": "none",
        "check_embedding_ctx_length": False,  # it would download a tokeniser
        "chunk_size": BATCH,
    }
    return import_module("langchain_openai").OpenAIEmbeddings(**options)


def _llamaindex_openai(url: str) -> Embeds:
    options = {"model_name": "m", "api_base": url, "api_key": "none", "embed_batch_size": BATCH}
    return of_llamaindex(import_module("llama_index.embeddings.openai").OpenAIEmbedding(**options))


def _litellm(url: str) -> Embeds:
    module = import_module("litellm")
    options = {"model": "openai/m", "api_base": url, "api_key": "none"}

    def sync(given: list[str]) -> object:
        return [module.embedding(input=part, **options) for part in _batches(given)]

    async def concurrent(given: list[str]) -> object:
        return [await module.aembedding(input=part, **options) for part in _batches(given)]

    return Embeds(sync, concurrent, lambda text: sync([text]), lambda text: concurrent([text]))


PEERS: dict[str, Callable[[str], Embeds]] = {
    ARRAY: lambda url: _bare(url, lambda vectors: vectors),
    LISTS: lambda url: _bare(url, _lists),
    WITHIN: lambda url: of_llamaindex(Within(bare=_bare(url, _lists), embed_batch_size=BATCH)),
    BRIDGED: _bridged,
    LANGCHAIN_OPENAI: lambda url: of_langchain(langchain_openai(url)),
    LLAMAINDEX_OPENAI: _llamaindex_openai,
    LITELLM: _litellm,
}
