"""Batches of 256 texts, one after the other: ours beside a bare loop and the peers."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from statistics import median

import httpx
import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from numpy.typing import NDArray
from typing_extensions import override

from benchmarks.embedding_peers import peers
from benchmarks.servers import texts
from benchmarks.tables import Goal, Row
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind
from langchain_failover import FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding

BATCH = texts(256)
CALLS = 20
"""Calls of each contestant in a round, but of the slow ones fewer."""

PATIENCE = 1.0
"""Seconds after which a contestant's turn is over."""

JOB = f"{len(BATCH)} × 1024 a call"
LANGCHAIN = "embed_documents"
LLAMAINDEX = "get_text_embedding_batch"
BARE = "httpx + base64 + numpy"
LISTS = f"{BARE}, tolist()"
EVENTS = "the same within a BaseEmbedding"
WANTED = {"langchain-openai": 2, "llama-index-embeddings-openai": None, "litellm": 40}
"""The peers, and how many times their calls per second ours should make."""

Call = Callable[[], object]


class Within(BaseEmbedding):
    """What LlamaIndex makes of a bare loop."""

    vectors: Callable[[], NDArray[np.float32]]

    @override
    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self.vectors().tolist()  # type: ignore[no-any-return]

    @override
    def _get_text_embedding(self, text: str) -> list[float]:
        raise NotImplementedError

    @override
    def _get_query_embedding(self, query: str) -> list[float]:
        raise NotImplementedError

    @override
    async def _aget_query_embedding(self, query: str) -> list[float]:
        raise NotImplementedError


@dataclass
class Cost:
    """Seconds of each round's calls."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, call: Call) -> None:
        """Take one round's turn."""
        started, ended, calls = time.perf_counter(), 0.0, 0
        processed = time.process_time()
        while calls < CALLS and ended - started < PATIENCE:
            call()
            calls, ended = calls + 1, time.perf_counter()
        self.wall.append((ended - started) / calls)
        self.cpu.append((time.process_time() - processed) / calls)


def rows(url: str, rounds: int) -> Iterator[Row]:
    """Measure, and yield the rows of the table."""
    others = peers(url)
    with httpx.Client(timeout=60) as plain, InfinityClient(url, model="m") as client:
        contestants = _bare(url, plain) | _ours(url, client)
        contestants |= {name: partial(peer.documents, BATCH) for name, peer in others.items()}
        costs = {name: Cost() for name in contestants}
        for call in contestants.values():
            call()
        for _ in range(rounds):
            for name, call in contestants.items():
                costs[name].measure(call)
    for name, bare in (("Embedder.embed", BARE), (LANGCHAIN, LISTS), (LLAMAINDEX, EVENTS)):
        yield from _against_bare(name, bare, costs)
    for name, at_least in WANTED.items():
        if name in costs:
            yield _against_peer(name, at_least, costs)
        else:
            yield Row(f"{JOB}: {LANGCHAIN} against {name}", "", "not installed")


def _against_bare(name: str, bare: str, costs: dict[str, Cost]) -> Iterator[Row]:
    ours, theirs = costs[name], costs[bare]
    for what, own, its in (
        ("wall", ours.wall, theirs.wall),
        ("CPU", ours.cpu, theirs.cpu),
    ):
        ratio = median(one / other for one, other in zip(own, its, strict=True))
        goal = Goal(ratio, at_most=1.15)
        yield Row(f"{JOB}: {name} against {bare}, {what}", _shown(own), _shown(its), goal)


def _against_peer(name: str, at_least: float | None, costs: dict[str, Cost]) -> Row:
    own, its = costs[LANGCHAIN].wall, costs[name].wall
    ratio = median(other / one for one, other in zip(own, its, strict=True))
    goal = Goal(ratio, at_least=at_least)
    return Row(f"{JOB}: {LANGCHAIN} against {name}", _shown(own), _shown(its), goal)


def _shown(seconds: list[float]) -> str:
    return f"{median(seconds) * 1e3:.1f} ms"


def _bare(url: str, plain: httpx.Client) -> dict[str, Call]:
    def vectors() -> NDArray[np.float32]:
        body = {"model": "m", "input": BATCH, "encoding_format": "base64"}
        items = plain.post(f"{url}/embeddings", json=body).json()["data"]
        items.sort(key=itemgetter("index"))
        packed = [base64.b64decode(item["embedding"]) for item in items]
        return np.stack([np.frombuffer(each, np.float32) for each in packed])

    # Its events copy every vector, whoever embeds.
    within = Within(vectors=vectors, embed_batch_size=len(BATCH))
    return {
        BARE: vectors,
        LISTS: lambda: vectors().tolist(),
        EVENTS: lambda: within.get_text_embedding_batch(BATCH),
    }


def _ours(url: str, client: InfinityClient) -> dict[str, Call]:
    router = Router([client])
    core = Embedder(router.begin, router.targets)
    langchain = FailoverEmbeddings.from_urls(url, model="m")
    llamaindex = FailoverEmbedding.from_urls(url, model="m")
    return {
        "Embedder.embed": lambda: core.embed(BATCH, Kind.PASSAGE),
        LANGCHAIN: lambda: langchain.embed_documents(BATCH),
        LLAMAINDEX: lambda: llamaindex.get_text_embedding_batch(BATCH),
    }
