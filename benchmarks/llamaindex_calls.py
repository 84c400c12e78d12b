"""What failover adds to a call under LlamaIndex: ``python -m benchmarks.llamaindex_calls``.

Idle objects answer at once, so that all the time is LlamaIndex's and ours: what is added to them
is all there is to pay, and its ratio to nothing says nothing of real objects. Beside them stand an
index in memory, and an LLM behind a server of another process that costs next to nothing.

The bare object and the pool take turns in every round. Each cell is the median over the rounds:
microseconds a call, those that the pool adds to the bare object's in the same round, and how many
times the bare object's it takes. All is measured twice: while nobody listens to LlamaIndex's spans
and events, of which the pool then leaves some out, and while a handler of each does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]

from benchmarks.llamaindex_idle import CHUNKS, NODES, IdleLLM, IdleRerank, IdleRetriever, listeners
from benchmarks.servers import server
from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank, FailoverRetriever

INDEXED = 1000
TEXTS = [f"text {number}" for number in range(10_000)]
HELLO = [ChatMessage("hello")]

Door = Callable[[Any], Awaitable[object]]


@dataclass(frozen=True)
class Row:
    """One kind of call: how it is made, on which objects, and how often in a row."""

    name: str
    door: Door
    bare: Any
    pool: Any
    calls: int = 100


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--only", default="", help="rows whose name has this")
    arguments = parser.parse_args()
    logging.disable()
    with server() as served, asyncio.Runner() as loop:
        chosen = [row for row in rows(served.url) if arguments.only in row.name]
        print_table("nobody listens", chosen, arguments.rounds, loop)
        with listeners():
            print_table("a handler of spans and one of events", chosen, arguments.rounds, loop)


def print_table(title: str, chosen: Sequence[Row], rounds: int, loop: asyncio.Runner) -> None:
    """Measure and print a Markdown table."""
    print(f"| {title} | bare | pool of two | added | times |")
    print("| --- | --- | --- | --- | --- |")
    for row in chosen:
        print(loop.run(measured(row, rounds)))
    print()


def rows(url: str) -> list[Row]:
    """Return what is measured, some of it at a server."""
    llms = IdleLLM(), FailoverLLM(targets=[IdleLLM(), IdleLLM()])
    ranks = IdleRerank(), FailoverRerank(targets=[IdleRerank(), IdleRerank()])
    finds = IdleRetriever(), FailoverRetriever([IdleRetriever(), IdleRetriever()])
    embeds = _embedding(), FailoverEmbedding(targets=[_embedding(), _embedding()])
    return [
        Row("`complete`", _complete, *llms),
        Row("`achat`", _achat, *llms),
        Row(f"`stream_complete`, {CHUNKS} chunks", _stream, *llms, calls=10),
        Row(f"`astream_chat`, {CHUNKS} chunks", _astream, *llms, calls=10),
        Row(f"`get_text_embedding_batch`, {len(TEXTS)} texts", _embed, *embeds, calls=1),
        Row("`postprocess_nodes`, 1 node", _ranks(NODES[:1]), *ranks),
        Row(f"`postprocess_nodes`, {len(NODES)} nodes", _ranks(NODES), *ranks),
        Row(f"`apostprocess_nodes`, {len(NODES)} nodes", _aranks(NODES), *ranks),
        Row("`retrieve`", _retrieve, *finds),
        Row("`aretrieve`", _aretrieve, *finds),
        Row(f"`retrieve`, index of {INDEXED} nodes", _retrieve, *_searches(), calls=10),
        Row("`chat`, HTTP", _chat, *_clients(url), calls=20),
        Row("`achat`, HTTP", _achat, *_clients(url), calls=20),
        Row(f"`astream_chat`, {CHUNKS} chunks, HTTP", _astream, *_clients(url), calls=5),
    ]


def _searches() -> tuple[BaseRetriever, BaseRetriever]:
    nodes = [TextNode(text=text) for text in TEXTS[:INDEXED]]
    index = VectorStoreIndex(nodes, embed_model=_embedding())
    return index.as_retriever(), FailoverRetriever([index.as_retriever(), index.as_retriever()])


def _clients(url: str) -> tuple[OpenAILike, FailoverLLM]:
    bare, *targets = (
        OpenAILike(
            model="m",
            api_base=url,
            api_key="none",
            is_chat_model=True,
            max_retries=0,
            max_tokens=CHUNKS,  # which the server takes for the chunks of a stream
        )
        for _ in range(3)
    )
    return bare, FailoverLLM(targets=targets)


def _embedding() -> MockEmbedding:
    return MockEmbedding(embed_dim=8, embed_batch_size=2048)


async def measured(row: Row, rounds: int) -> str:
    """Return a row of the table."""
    bare, pool = [], []
    for number in range(rounds + 1):
        seconds = [await _seconds(row, one) for one in (row.bare, row.pool)]
        if number:  # the first round warms up
            bare.append(seconds[0])
            pool.append(seconds[1])
    pairs = list(zip(pool, bare, strict=True))
    ratio = median(own / its for own, its in pairs)
    added = [own - its for own, its in pairs]
    cells = (f"{median(seconds) * 1e6:.1f} µs" for seconds in (bare, pool, added))
    return f"| {row.name} | {' | '.join(cells)} | {ratio:.2f}× |"


async def _seconds(row: Row, one: Any) -> float:
    started = time.perf_counter()
    for _ in range(row.calls):
        await row.door(one)
    return (time.perf_counter() - started) / row.calls


async def _complete(llm: Any) -> None:
    llm.complete("hello")


async def _chat(llm: Any) -> None:
    llm.chat(HELLO)


async def _achat(llm: Any) -> None:
    await llm.achat(HELLO)


async def _stream(llm: Any) -> None:
    for _ in llm.stream_complete("hello"):
        pass


async def _astream(llm: Any) -> None:
    async for _ in await llm.astream_chat(HELLO):
        pass


async def _embed(embedding: Any) -> None:
    embedding.get_text_embedding_batch(TEXTS)


def _ranks(nodes: Sequence[NodeWithScore]) -> Door:
    async def door(rerank: Any) -> None:
        rerank.postprocess_nodes(list(nodes), query_str="hello")

    return door


def _aranks(nodes: Sequence[NodeWithScore]) -> Door:
    async def door(rerank: Any) -> None:
        await rerank.apostprocess_nodes(list(nodes), query_str="hello")

    return door


async def _retrieve(retriever: Any) -> None:
    retriever.retrieve("hello")


async def _aretrieve(retriever: Any) -> None:
    await retriever.aretrieve("hello")


if __name__ == "__main__":
    main()
