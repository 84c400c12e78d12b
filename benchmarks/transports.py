"""What a request costs: the clients beside bare httpx, httpx-aiohttp and aiohttp, in one run.

    python benchmarks/transports.py [--rounds 5]

The server is a process of its own. The contestants take turns in every round, so that a busy
machine disturbs all of them alike; the tables show medians over the rounds. Only the ratios
mean something on another machine. The clients check and convert every answer; the others stop
at the bytes of the body, except in the second table, where all end with vectors.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field

import aiohttp
import httpx
import httpx_aiohttp
import numpy as np
import orjson

from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind

CALLS = 600
"""Calls per contestant and round."""

CONCURRENCY = (1, 64)
DIMENSION = 1024
BATCH = ["a text of some length, as passages are " * 4] * 256
BATCH_CALLS = 5
HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100)

Call = Callable[[], object]
AsyncCall = Callable[[], Awaitable[object]]


@dataclass
class Result:
    """The rounds of one contestant at one concurrency."""

    rates: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)

    def add(self, seconds: float, latencies: list[float]) -> None:
        """Take the latencies of a round, in seconds, and how long all of it took."""
        self.rates.append(len(latencies) / seconds)
        self.p99s.append(statistics.quantiles(latencies, n=100)[98])

    @property
    def rate(self) -> float:
        """Calls per second."""
        return statistics.median(self.rates)

    @property
    def p99(self) -> float:
        """Milliseconds that one call in a hundred exceeds."""
        return statistics.median(self.p99s) * 1000


@contextmanager
def server() -> Iterator[str]:
    """Run the server; yield its URL."""
    command = [sys.executable, "-m", "failover_core.testing", "--dimension", str(DIMENSION)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None  # noqa: S101 - asked for above
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def body(texts: list[str], encoding: str = "base64") -> bytes:
    """Return the body that the clients send, too."""
    return orjson.dumps({"model": "m", "input": texts, "encoding_format": encoding})


def measure(call: Call, concurrency: int, result: Result) -> None:
    """Make the calls from as many threads."""
    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(lambda _: call(), range(concurrency)))
        started = time.perf_counter()
        latencies = list(threads.map(lambda _: timed(call), range(CALLS)))
        result.add(time.perf_counter() - started, latencies)


def timed(call: Call) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


async def ameasure(call: AsyncCall, concurrency: int, result: Result) -> None:
    """Make the calls from as many tasks."""
    latencies: list[float] = []

    async def worker(calls: int) -> None:
        for _ in range(calls):
            started = time.perf_counter()
            await call()
            latencies.append(time.perf_counter() - started)

    await asyncio.gather(*(worker(1) for _ in range(concurrency)))
    latencies.clear()
    started = time.perf_counter()
    await asyncio.gather(*(worker(CALLS // concurrency) for _ in range(concurrency)))
    result.add(time.perf_counter() - started, latencies)


def single_texts(url: str, rounds: int) -> dict[tuple[str, int], Result]:
    """Embed one text at a time through every contestant."""
    results: dict[tuple[str, int], Result] = {}
    target, content = f"{url}/embeddings", body(["hello"])
    with InfinityClient(url, model="m") as ours, httpx.Client(limits=LIMITS) as plain:
        calls: dict[str, Call] = {
            "httpx, sync": lambda: plain.post(target, content=content, headers=HEADERS).content,
            "ours, sync": lambda: ours.embed(["hello"], Kind.QUERY),
        }
        for _ in range(rounds):
            for concurrency in CONCURRENCY:
                for name, call in calls.items():
                    measure(call, concurrency, results.setdefault((name, concurrency), Result()))
                asyncio.run(_async_round(ours, target, content, concurrency, results))
    return results


async def _async_round(
    ours: InfinityClient,
    target: str,
    content: bytes,
    concurrency: int,
    results: dict[tuple[str, int], Result],
) -> None:
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(httpx.AsyncClient(limits=LIMITS))
        bridged = await stack.enter_async_context(httpx_aiohttp.HttpxAiohttpClient(limits=LIMITS))
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def alone() -> bytes:
            async with session.post(target, data=content, headers=HEADERS) as response:
                return await response.read()

        calls: dict[str, AsyncCall] = {
            "httpx, async": lambda: plain.post(target, content=content, headers=HEADERS),
            "httpx-aiohttp": lambda: bridged.post(target, content=content, headers=HEADERS),
            "ours, async": lambda: ours.aembed(["hello"], Kind.QUERY),
            "aiohttp alone": alone,
        }
        for name, call in calls.items():
            await ameasure(call, concurrency, results.setdefault((name, concurrency), Result()))


def batches(url: str, rounds: int) -> dict[str, list[float]]:
    """Embed a batch in one call, up to an array of vectors; return milliseconds."""
    target, content = f"{url}/embeddings", body(BATCH, "float")
    with InfinityClient(url, model="m", timeout=60) as ours, httpx.Client(timeout=60) as plain:

        def decoded(loads: Callable[[bytes], dict[str, list[dict[str, object]]]]) -> object:
            document = loads(plain.post(target, content=content, headers=HEADERS).content)
            return np.array([item["embedding"] for item in document["data"]], np.float32)

        calls: dict[str, Call] = {
            "httpx + json": lambda: decoded(json.loads),
            "httpx + orjson": lambda: decoded(orjson.loads),
            "ours": lambda: ours.embed(BATCH, Kind.PASSAGE),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(rounds):
            for name, call in calls.items():
                times[name] += [timed(call) * 1000 for _ in range(BATCH_CALLS)]
    return times


def print_single_texts(results: dict[tuple[str, int], Result]) -> None:
    """Print the first table and its ratios."""
    print("| embed 1 text | calls/s at 1 | calls/s at 64 | p99 at 64 (ms) |")
    print("| --- | --- | --- | --- |")
    for name in dict.fromkeys(name for name, _ in results):
        one, many = (results[name, concurrency] for concurrency in CONCURRENCY)
        print(f"| {name} | {one.rate:,.0f} | {many.rate:,.0f} | {many.p99:,.1f} |")
    pairs = [
        ("ours, sync", "httpx, sync"),
        ("ours, async", "httpx, async"),
        ("ours, async", "httpx-aiohttp"),
        ("ours, async", "aiohttp alone"),
    ]
    print()
    for ours, theirs in pairs:
        ratios = [
            results[ours, number].rate / results[theirs, number].rate for number in CONCURRENCY
        ]
        print(f"- {ours} : {theirs} = {ratios[0]:.2f} at 1, {ratios[1]:.2f} at 64")


def print_batches(times: dict[str, list[float]]) -> None:
    """Print the second table."""
    fastest = statistics.median(times["ours"])
    print(f"\n| {len(BATCH)} texts x {DIMENSION}, one call | median (ms) | times ours |")
    print("| --- | --- | --- |")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.1f} | {median / fastest:.1f} |")


def main() -> None:
    """Run both parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with server() as url:
        print_single_texts(single_texts(url, rounds))
        print_batches(batches(url, rounds))


if __name__ == "__main__":
    main()
