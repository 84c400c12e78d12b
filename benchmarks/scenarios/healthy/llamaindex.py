"""What failover adds to calls of LlamaIndex."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.llms import ChatMessage
from llama_index.core.schema import TextNode

from benchmarks.harness.comparing import jobs_plot, jobs_table
from benchmarks.harness.records import Effort, Plot, Section, Table
from benchmarks.harness.turns import Laps, Turn, in_a_row, in_a_row_async, take_turns
from benchmarks.peers.idle_llamaindex import NODES, IdleLLM, IdleRerank, IdleRetriever, listeners
from benchmarks.scenarios.healthy import section
from benchmarks.servers import server
from llamaindex_failover import FailoverEmbedding, FailoverLLM, FailoverRerank, FailoverRetriever

TEXT = """
Pools have two targets. Nobody listens to LlamaIndex's spans and events, but where it says so.
"""

BARE, OURS = "bare", "Failover, two targets"
HELLO = "hello"
MESSAGES = [ChatMessage(HELLO)]
TEXTS = [f"text {number}" for number in range(10_000)]
INDEXED = 1_000

Pair = tuple[Any, Any]
"""The bare object, and a pool of two such."""


@dataclass(frozen=True, slots=True)
class Door:
    """How a pair is called, so many times in a turn: by one of the two functions."""

    pair: Pair
    calls: int
    sync: Callable[[Any], object] | None = None
    concurrent: Callable[[Any], Awaitable[object]] | None = None

    def turn(self, one: Any) -> Turn:
        """Return the turn of one of the pair."""
        if self.sync is not None:
            sync = self.sync
            return in_a_row(lambda: sync(one), self.calls)
        concurrent = self.concurrent
        assert concurrent is not None  # noqa: S101 - one of the two is given
        return in_a_row_async(lambda: concurrent(one), self.calls)


def measure(effort: Effort) -> Section:
    """Measure objects that do nothing, and a vendor's LLM over HTTP."""
    return section("LlamaIndex", TEXT, _shown_by(effort))


def _shown_by(effort: Effort) -> Iterator[tuple[Table, Plot]]:
    found = _found(_idle(effort.of(100, quick=20)), effort.of(21, quick=1))
    yield _shown("idle", "LlamaIndex, objects that do nothing", found)
    with listeners():
        found = _found(_idle(effort.of(100, quick=20)), effort.of(11, quick=1))
    title = "The same while a handler of events and one of spans do nothing"
    yield _shown("heard", title, found)
    with server() as running:
        found = _found(_http(running.url, effort.of(20, quick=5)), effort.of(11, quick=1))
    if found:
        yield _shown("http", "LlamaIndex, OpenAILike classes and a local server", found)


def _found(doors: dict[str, Door], rounds: int) -> dict[str, dict[str, Laps]]:
    return {
        name: take_turns(
            {who: door.turn(one) for who, one in zip((BARE, OURS), door.pair, strict=True)}, rounds
        )
        for name, door in doors.items()
    }


def _shown(name: str, title: str, found: dict[str, dict[str, Laps]]) -> tuple[Table, Plot]:
    names = BARE, OURS
    return jobs_table(title, BARE, found, names), jobs_plot(name, title, BARE, found, names)


def _idle(calls: int) -> dict[str, Door]:
    few = max(calls // 10, 2)
    short, long = _llms(IdleLLM), _llms(lambda: IdleLLM(chunks=200))
    ranks = IdleRerank(), FailoverRerank(targets=[IdleRerank(), IdleRerank()])
    finds = IdleRetriever(), FailoverRetriever([IdleRetriever(), IdleRetriever()])
    embeds = _embedding(), FailoverEmbedding(targets=[_embedding(), _embedding()])
    searches = _searches()
    return {
        "complete": Door(short, calls, lambda one: one.complete(HELLO)),
        "acomplete": Door(short, calls, None, lambda one: one.acomplete(HELLO)),
        "achat": Door(short, calls, None, lambda one: one.achat(MESSAGES)),
        "stream_complete, 20 chunks": Door(short, few, _read_complete),
        "stream_complete, 200 chunks": Door(long, few, _read_complete),
        "astream_chat, 20 chunks": Door(short, few, None, _read_chat),
        "astream_chat, 200 chunks": Door(long, few, None, _read_chat),
        f"get_text_embedding_batch, {len(TEXTS):,} texts": Door(
            embeds, 1, lambda one: one.get_text_embedding_batch(TEXTS)
        ),
        "postprocess_nodes, 100 nodes": Door(
            ranks, calls, lambda one: one.postprocess_nodes(list(NODES), query_str=HELLO)
        ),
        "apostprocess_nodes, 100 nodes": Door(
            ranks, calls, None, lambda one: one.apostprocess_nodes(list(NODES), query_str=HELLO)
        ),
        "retrieve": Door(finds, calls, lambda one: one.retrieve(HELLO)),
        "aretrieve": Door(finds, calls, None, lambda one: one.aretrieve(HELLO)),
        f"retrieve, index of {INDEXED:,}": Door(searches, few, lambda one: one.retrieve(HELLO)),
    }


def _http(url: str, calls: int) -> dict[str, Door]:
    try:
        llm = import_module("llama_index.llms.openai_like").OpenAILike
        embedding = import_module("llama_index.embeddings.openai_like").OpenAILikeEmbedding
    except ImportError:
        return {}
    options = {"api_base": url, "api_key": "none", "max_retries": 0, "timeout": 30}
    llms = _llms(lambda: llm(model="m", is_chat_model=True, max_tokens=200, **options))
    one, two, three = (embedding(model_name="m", embed_batch_size=256, **options) for _ in "123")
    embeds = one, FailoverEmbedding(targets=[two, three])
    few = max(calls // 5, 1)
    return {
        "complete": Door(llms, calls, lambda one: one.complete(HELLO)),
        "achat": Door(llms, calls, None, lambda one: one.achat(MESSAGES)),
        "stream_complete, 200 chunks": Door(llms, few, _read_complete),
        "astream_chat, 200 chunks": Door(llms, few, None, _read_chat),
        "get_text_embedding_batch, 1,024 texts": Door(
            embeds, 1, lambda one: one.get_text_embedding_batch(TEXTS[:1024])
        ),
        "aget_text_embedding_batch, 1,024 texts": Door(
            embeds, 1, None, lambda one: one.aget_text_embedding_batch(TEXTS[:1024])
        ),
    }


def _llms(build: Callable[[], Any]) -> Pair:
    return build(), FailoverLLM(targets=[build(), build()])


def _embedding() -> MockEmbedding:
    return MockEmbedding(embed_dim=8, embed_batch_size=2048)


def _searches() -> Pair:
    nodes = [TextNode(text=text) for text in TEXTS[:INDEXED]]
    index = VectorStoreIndex(nodes, embed_model=_embedding())
    return index.as_retriever(), FailoverRetriever([index.as_retriever(), index.as_retriever()])


def _read_complete(llm: Any) -> None:
    chunks: Iterable[object] = llm.stream_complete(HELLO)
    for _ in chunks:
        pass


async def _read_chat(llm: Any) -> None:
    chunks: AsyncIterator[object] = await llm.astream_chat(MESSAGES)
    async for _ in chunks:
        pass
