"""What failover adds to a reranker and a retriever of LangChain."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
    Callbacks,
)
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from typing_extensions import override

from benchmarks.harness.comparing import jobs_plot, jobs_table
from benchmarks.harness.records import Effort, Plot, Section, Table
from benchmarks.harness.turns import Laps, in_a_row, in_a_row_async, take_turns
from benchmarks.scenarios.healthy import section
from benchmarks.servers import server
from langchain_failover import FailoverReranker, FailoverRetriever
from llamaindex_failover import FailoverRerank

TEXT = """
Pools have two targets. The idle reranker copies its documents, as real ones do.
"""

BARE = "bare"
RERANK, LLAMAINDEX, RETRIEVE = (
    "FailoverReranker",
    "FailoverRerank (LlamaIndex)",
    "FailoverRetriever",
)
FALLBACKS = "with_fallbacks"
QUERY = "What does the pilot count?"
TEXTS = [f"document {number} of some length, as passages are" for number in range(100)]
DOCUMENTS = [Document(text, metadata={"relevance_score": 0.5}) for text in TEXTS]


class IdleReranker(BaseDocumentCompressor):
    """A reranker that knows the scores, and copies documents as real ones do."""

    @override
    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return [Document(one.page_content, metadata=dict(one.metadata)) for one in documents]

    @override
    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return self.compress_documents(documents, query)


class IdleRetriever(BaseRetriever):
    """A retriever that finds the same documents at once."""

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return DOCUMENTS[:4]

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun
    ) -> list[Document]:
        return DOCUMENTS[:4]


def measure(effort: Effort) -> Section:
    """Measure both, and reranking over HTTP."""
    return section("rerankers and retrievers", TEXT, _shown_by(effort))


def _shown_by(effort: Effort) -> Iterator[tuple[Table, Plot]]:
    rounds, calls = effort.of(21, quick=2), effort.of(100, quick=50)
    ours = FailoverRetriever(targets=[IdleRetriever(), IdleRetriever()])
    fallbacks = IdleRetriever().with_fallbacks([IdleRetriever()])
    retrievers: dict[str, Any] = {BARE: IdleRetriever(), RETRIEVE: ours, FALLBACKS: fallbacks}
    found = _doors(retrievers, ("invoke", "ainvoke"), (QUERY,), calls, rounds)
    yield _shown("retriever", "LangChain, a retriever that does nothing", found, tuple(retrievers))
    ranked = FailoverReranker(targets=[IdleReranker(), IdleReranker()])
    rerankers: dict[str, Any] = {BARE: IdleReranker(), RERANK: ranked}
    doors = "compress_documents", "acompress_documents"
    found = _doors(rerankers, doors, (DOCUMENTS, QUERY), calls, rounds)
    title = "LangChain, a reranker of 100 documents that only copies them"
    yield _shown("reranker", title, found, tuple(rerankers))
    with server() as running:
        found = {"rerank 100 documents": _http(running.url, calls, rounds)}
    title = "Reranking 100 documents over HTTP"
    yield _shown("reranker-http", title, found, (BARE, RERANK, LLAMAINDEX))


def _shown(
    name: str, title: str, found: dict[str, dict[str, Laps]], names: tuple[str, ...]
) -> tuple[Table, Plot]:
    return jobs_table(title, BARE, found, names), jobs_plot(name, title, BARE, found, names)


def _doors(
    contestants: dict[str, Any],
    doors: tuple[str, str],
    given: tuple[Any, ...],
    calls: int,
    rounds: int,
) -> dict[str, dict[str, Laps]]:
    """Let all take turns at the sync door, and then at the async one."""

    def asked(one: Any, door: str) -> Callable[[], Any]:
        return lambda: getattr(one, door)(*given)

    sync, concurrent = doors
    turns = {name: in_a_row(asked(one, sync), calls) for name, one in contestants.items()}
    aturns = {
        name: in_a_row_async(asked(one, concurrent), calls) for name, one in contestants.items()
    }
    return {sync: take_turns(turns, rounds), concurrent: take_turns(aturns, rounds)}


def _http(url: str, calls: int, rounds: int) -> dict[str, Laps]:
    from llama_index.core.schema import NodeWithScore, TextNode  # noqa: PLC0415 - slow to import

    body = {"model": "m", "query": QUERY, "documents": TEXTS, "return_documents": False}
    langchain = FailoverReranker.from_urls([url, url], model="m")
    llamaindex = FailoverRerank.from_urls([url, url], model="m", top_n=100)
    nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in TEXTS]
    with httpx.Client(timeout=60) as plain:

        def bare() -> list[tuple[int, float]]:
            ranked = plain.post(f"{url}/rerank", json=body).json()["results"]
            return [(one["index"], one["relevance_score"]) for one in ranked]

        turns = {
            BARE: bare,
            RERANK: lambda: langchain.compress_documents(DOCUMENTS, QUERY),
            LLAMAINDEX: lambda: llamaindex.postprocess_nodes(nodes, query_str=QUERY),
        }
        return take_turns({name: in_a_row(turn, calls) for name, turn in turns.items()}, rounds)
