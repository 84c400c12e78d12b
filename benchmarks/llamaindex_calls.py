"""What failover adds to a call under LlamaIndex: ``python -m benchmarks.llamaindex_calls``.

The objects do nothing, and nobody listens, so that all the time is LlamaIndex's and ours. The bare
object and the pool take turns in every round. Each cell is the median over the rounds:
microseconds a call, and times the bare object in the same round. Only the latter means something
on another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.llms.types import (
    ChatMessage,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank, FailoverRetriever

CHUNKS = 100
INDEXED = 1000
TEXTS = [f"text {number}" for number in range(10_000)]
NODES = [
    NodeWithScore(node=TextNode(text=f"node {number}"), score=1 - number / 10)
    for number in range(10)
]
HELLO = [ChatMessage("hello")]

Door = Callable[[Any], Awaitable[object]]


class IdleLLM(CustomLLM):
    """An LLM that answers at once."""

    @property
    def metadata(self) -> LLMMetadata:
        """Say as little as an LLM must."""
        return LLMMetadata(model_name="idle")

    @llm_completion_callback()
    def complete(
        self,
        prompt: str,  # noqa: ARG002 - the signature of LlamaIndex
        formatted: bool = False,  # noqa: ARG002, FBT001, FBT002 - as above
        **_: Any,
    ) -> CompletionResponse:
        """Answer at once."""
        return CompletionResponse(text="fine")

    @llm_completion_callback()
    def stream_complete(
        self,
        prompt: str,  # noqa: ARG002 - as above
        formatted: bool = False,  # noqa: ARG002, FBT001, FBT002 - as above
        **_: Any,
    ) -> CompletionResponseGen:
        """Answer at once, in pieces."""

        def chunks() -> CompletionResponseGen:
            text = ""
            for _ in range(CHUNKS):
                text += "fine"
                yield CompletionResponse(text=text, delta="fine")

        return chunks()


class IdleRerank(BaseNodePostprocessor):
    """A postprocessor that returns what it gets."""

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - as above
    ) -> list[NodeWithScore]:
        return nodes

    async def _apostprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - as above
    ) -> list[NodeWithScore]:
        return nodes


class IdleRetriever(BaseRetriever):
    """A retriever that finds the same nodes at once."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:  # noqa: ARG002 - as above
        return NODES


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
    print("| no handlers | bare | pool of two | times |")
    print("| --- | --- | --- | --- |")
    for row in rows():
        if arguments.only in row.name:
            print(asyncio.run(measured(row, arguments.rounds)))


def rows() -> list[Row]:
    """Return what is measured."""
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
    ]


def _searches() -> tuple[BaseRetriever, BaseRetriever]:
    nodes = [TextNode(text=text) for text in TEXTS[:INDEXED]]
    index = VectorStoreIndex(nodes, embed_model=_embedding())
    return index.as_retriever(), FailoverRetriever([index.as_retriever(), index.as_retriever()])


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
    ratio = median(own / its for own, its in zip(pool, bare, strict=True))
    cells = (f"{median(own) * 1e6:.1f} µs" for own in (bare, pool))
    return f"| {row.name} | {' | '.join(cells)} | {ratio:.2f}× |"


async def _seconds(row: Row, one: Any) -> float:
    started = time.perf_counter()
    for _ in range(row.calls):
        await row.door(one)
    return (time.perf_counter() - started) / row.calls


async def _complete(llm: Any) -> None:
    llm.complete("hello")


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
