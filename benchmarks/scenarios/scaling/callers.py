"""What a call takes among more and more that are under way at the same time."""

from __future__ import annotations

from contextlib import AsyncExitStack

import aiohttp
import httpx
import orjson

from benchmarks.harness.comparing import figure
from benchmarks.harness.records import Effort, Goal, Plot, Row, Table
from benchmarks.harness.turns import AsyncCall, Turn, in_tasks, loop, take_turns
from benchmarks.scenarios.scaling.crowd import added, alone_turn, routed_turn
from benchmarks.scenarios.scaling.growth import Costs, cost_cells, curves, slope_cell
from benchmarks.scenarios.scaling.idle import STRATEGIES
from benchmarks.servers import server
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Kind
from langchain_failover import FailoverEmbeddings

SIZES = (1, 8, 64, 512, 4_096)
POOLS = (10, 1_000)

TEXT = """
**Calls at once.** *The engine*: so many calls are in flight together, each of which waits until
all have been sent; CPU time, less what the same tasks take without a router in the same round.
*Over HTTP*: one text × 1024 from a server in a process of its own, from so many tasks, each client
with its own limit of 100 connections. `aembed_query` puts what tasks ask for at the same moment
into one request. httpx is left out where its rounds would
take minutes.
"""

_CROWD = Goal(
    at_most=20e-6,
    why="Half of it is the garbage collector, which walks through all calls in flight: with it "
    "switched off, the engine takes 10 to 14 µs",
)
_HEADERS = {"content-type": "application/json"}
_BODY = orjson.dumps({"model": "m", "input": ["hello"], "encoding_format": "base64"})
_AIOHTTP, _HTTPX = "aiohttp", "httpx.AsyncClient"


def measured(effort: Effort) -> tuple[tuple[Table, ...], tuple[Plot, ...]]:
    """Make so many calls at once."""
    engine, web = _engine(effort), _web(effort)
    columns = ("", *(f"{size:,} at once" for size in SIZES), "slope")
    tables = (
        Table("Calls at once: the engine, of 10 targets", columns, _rows(engine)),
        _crowds(effort),
        Table("Calls at once: over HTTP", columns, _rows(web)),
    )
    plots = (
        curves("engine", "Each call: CPU time of the engine", "calls at once", engine),
        curves("http", "Each call over HTTP: time", "calls at once", web, bare=(_AIOHTTP, _HTTPX)),
    )
    return tables, plots


def _rows(found: dict[str, Costs]) -> tuple[Row, ...]:
    return tuple(
        Row(name, (*cost_cells(costs, SIZES), slope_cell(costs))) for name, costs in found.items()
    )


def _engine(effort: Effort) -> dict[str, Costs]:
    strategies, turns = ("priority", "least_loaded"), dict[str, Turn]()
    for size in SIZES:
        times = max(1, effort.of(8_192, quick=1_024) // size)
        turns[f"{size}"] = alone_turn(size, times)
        for one in strategies:
            turns[f"{one}, {size}"] = routed_turn(size, times, POOLS[0], one)
    found = take_turns(turns, effort.of(9, quick=1))
    return {
        one: {size: added(found, f"{one}, {size}", f"{size}", size) for size in SIZES}
        for one in strategies
    }


def _crowds(effort: Effort) -> Table:
    size = effort.of(10_000, quick=2_000)
    turns = {"": alone_turn(size, 1)}
    for one in STRATEGIES:
        turns |= {f"{one}, {targets}": routed_turn(size, 1, targets, one) for targets in POOLS}
    found = take_turns(turns, effort.of(9, quick=1))
    rows = []
    for one in STRATEGIES:
        costs = (added(found, f"{one}, {targets}", "", size) for targets in POOLS)
        rows.append(Row(one, tuple(figure(cost, "s", _CROWD) for cost in costs)))
    columns = ("", *(f"{targets:,} targets" for targets in POOLS))
    return Table(f"{size:,} calls at once: the engine", columns, tuple(rows))


def _web(effort: Effort) -> dict[str, Costs]:
    calls, longest = effort.of(1_024, quick=128), effort.of(512, quick=64)
    with server() as running:
        stack = AsyncExitStack()
        contestants = loop().run(_contestants(running.url, stack))
        sizes: dict[str, tuple[int, ...]] = dict.fromkeys(contestants, SIZES)
        sizes[_HTTPX] = tuple(size for size in SIZES if size <= longest)
        turns = {
            f"{name}, {size}": in_tasks(call, max(size, calls), size)
            for name, call in contestants.items()
            for size in sizes[name]
        }
        found = take_turns(turns, effort.of(5, quick=1))
        loop().run(stack.aclose())
    return {
        name: {size: found[f"{name}, {size}"].wall for size in sizes[name]} for name in contestants
    }


async def _contestants(url: str, stack: AsyncExitStack) -> dict[str, AsyncCall]:
    plain = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
    session = await stack.enter_async_context(aiohttp.ClientSession())
    router = Router([InfinityClient(url, model="m")])
    langchain = FailoverEmbeddings.from_urls(url, model="m")

    async def alone() -> bytes:
        sent = session.post(f"{url}/embeddings", data=_BODY, headers=_HEADERS)
        async with sent as response:
            return await response.read()

    return {
        "Router.arun": lambda: router.arun(lambda client: client.aembed(["hello"], Kind.QUERY)),
        "FailoverEmbeddings.aembed_query": lambda: langchain.aembed_query("hello"),
        _AIOHTTP: alone,
        _HTTPX: lambda: plain.post(f"{url}/embeddings", content=_BODY, headers=_HEADERS),
    }
