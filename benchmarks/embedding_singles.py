"""Calls of one text each, many at once: ours beside bare httpx."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from statistics import median, quantiles

import httpx

from benchmarks.embedding_peers import peers
from benchmarks.servers import texts
from benchmarks.tables import Goal, Row
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind
from langchain_failover import FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding

CONCURRENCY = 64
CALLS = 20
"""Calls that each thread or task makes in a round."""

TEXTS = texts(CONCURRENCY * CALLS, " What does the pilot count?")
"""One for each call: equal ones would be embedded once."""

KEEPING = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
"""Of a second bare client: by default, httpx keeps 20 connections and opens the others anew."""

Call = Callable[[str], object]
AsyncCall = Callable[[str], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds that each call took, and all of them together."""

    each: list[float]
    whole: float


def rows(url: str, rounds: int) -> Iterator[Row]:
    """Measure, and yield the rows of the table."""
    results: dict[str, list[Round]] = {}
    for _ in range(2 * rounds + 1):  # short ones: a stall of the machine spoils a whole one
        for name, result in {**_threads(url), **asyncio.run(_tasks(url))}.items():
            results.setdefault(name, []).append(result)
    for ours in ("Embedder.aembed", "aembed_query", "aget_query_embedding"):
        yield _rate(results, ours, "httpx.AsyncClient", 10)
    yield _rate(results, "Embedder.aembed", "httpx.AsyncClient, keeping 64", 10)
    yield _rate(results, "aembed_query", "langchain-openai, async", 10)
    yield _tail(results)
    yield _rate(results, "Embedder.embed", "httpx.Client", 1)
    yield _rate(results, "Embedder.embed", "httpx.Client, keeping 64", 1)


def _rate(results: dict[str, list[Round]], ours: str, theirs: str, at_least: float | None) -> Row:
    pairs = list(zip(results[ours], results[theirs], strict=True))
    ratio = median(their.whole / our.whole for our, their in pairs)
    rates = [median(len(one.each) / one.whole for one in results[name]) for name in (ours, theirs)]
    what = f"{CONCURRENCY} at once, 1 text: {ours} against {theirs}"
    own, its = (f"{rate:,.0f}/s" for rate in rates)
    return Row(what, own, its, Goal(ratio, at_least=at_least))


def _tail(results: dict[str, list[Round]]) -> Row:
    """Compare the slowest calls with the others; what is bare tells how quiet the machine is."""
    ratios = {
        name: median(quantiles(one.each, n=100)[98] / median(one.each) for one in rounds)
        for name, rounds in results.items()
    }
    ours, theirs = ratios["Embedder.aembed"], ratios["httpx.AsyncClient"]
    what = f"{CONCURRENCY} at once, 1 text: p99 against the median, Embedder.aembed"
    beside = f"{theirs:.2f}× httpx.AsyncClient"
    return Row(what, f"{ours:.2f}×", beside, Goal(ours, at_most=2))


def _threads(url: str) -> dict[str, Round]:
    with ExitStack() as stack:
        plain = stack.enter_context(httpx.Client())
        keeping = stack.enter_context(httpx.Client(limits=KEEPING))
        core = _embedder(stack.enter_context(InfinityClient(url, model="m")))
        calls: dict[str, Call] = {
            "httpx.Client": lambda text: plain.post(f"{url}/embeddings", json=_body(text)).json(),
            "httpx.Client, keeping 64": lambda text: keeping.post(
                f"{url}/embeddings", json=_body(text)
            ).json(),
            "Embedder.embed": lambda text: core.embed([text], Kind.QUERY),
        }
        return {name: _in_threads(call) for name, call in calls.items()}


def _in_threads(call: Call) -> Round:
    def timed(text: str) -> float:
        started = time.perf_counter()
        call(text)
        return time.perf_counter() - started

    with ThreadPoolExecutor(CONCURRENCY) as threads:
        list(threads.map(timed, TEXTS[:CONCURRENCY]))  # connections are opened
        started = time.perf_counter()
        each = list(threads.map(timed, TEXTS))
        return Round(each, time.perf_counter() - started)


async def _tasks(url: str) -> dict[str, Round]:
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        keeping = await stack.enter_async_context(httpx.AsyncClient(timeout=60, limits=KEEPING))
        core = _embedder(await stack.enter_async_context(InfinityClient(url, model="m")))
        langchain = FailoverEmbeddings.from_urls(url, model="m")
        llamaindex = FailoverEmbedding.from_urls(url, model="m")
        peer = peers(url)["langchain-openai"]

        async def posted(client: httpx.AsyncClient, text: str) -> object:
            return (await client.post(f"{url}/embeddings", json=_body(text))).json()

        calls: dict[str, AsyncCall] = {
            "httpx.AsyncClient": lambda text: posted(plain, text),
            "httpx.AsyncClient, keeping 64": lambda text: posted(keeping, text),
            "Embedder.aembed": lambda text: core.aembed([text], Kind.QUERY),
            "aembed_query": langchain.aembed_query,
            "aget_query_embedding": llamaindex.aget_query_embedding,
            "langchain-openai, async": peer.query,
        }
        return {name: await _in_tasks(call) for name, call in calls.items()}


async def _in_tasks(call: AsyncCall) -> Round:
    each: list[float] = []

    async def worker(texts: list[str]) -> None:
        for text in texts:
            started = time.perf_counter()
            await call(text)
            each.append(time.perf_counter() - started)

    workers = [TEXTS[place::CONCURRENCY] for place in range(CONCURRENCY)]
    await asyncio.gather(*(worker(texts[:1]) for texts in workers))  # connections are opened
    each.clear()
    started = time.perf_counter()
    await asyncio.gather(*map(worker, workers))
    return Round(each, time.perf_counter() - started)


def _body(text: str) -> dict[str, object]:
    return {"model": "m", "input": [text], "encoding_format": "base64"}


def _embedder(client: InfinityClient) -> Embedder:
    router = Router([client])
    return Embedder(router.begin, router.targets)
