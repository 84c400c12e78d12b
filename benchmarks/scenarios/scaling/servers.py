"""One job over more and more servers, each of which takes its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

from benchmarks.harness.comparing import figure, speedup
from benchmarks.harness.records import Effort, Figure, Goal, Plot, Row, Series, Table
from benchmarks.harness.turns import Laps, Turn, in_a_row, in_a_row_async, take_turns
from benchmarks.servers import server, texts
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind

SIZES = (1, 2, 4, 8)
BATCH = 256
SERVICE = 0.1
"""Seconds of each request."""

TEXT = f"""
**Servers.** Each serves one request at a time, in {SERVICE * 1e3:.0f} ms, whatever is in it; one
`Embedder` spreads one job over all of them, {BATCH} texts × 1024 to a request. The servers of the
pool and the one client share this machine's CPUs.
"""

_GOALS = {4: Goal(at_least=3.8)}
_DOORS = ("embed", "aembed")


def measured(effort: Effort) -> tuple[tuple[Table, ...], tuple[Plot, ...]]:
    """Embed as many texts over each number of servers."""
    job = texts(effort.of(24_000, quick=1_024))
    with ExitStack() as stack:
        turns: dict[str, Turn] = {}
        for size in SIZES:
            embedder = stack.enter_context(_pool(size))
            turns |= {f"{door}, {size}": _turn(embedder, door, job) for door in _DOORS}
        found = take_turns(turns, effort.of(3, quick=1))
    goals = _GOALS if effort is Effort.FULL else {}  # a short job ends before it is in its stride
    rows = [_row(size, found, len(job), goals.get(size)) for size in SIZES]
    columns = ("", *(column for door in _DOORS for column in (door, "× one server")))
    title = f"Servers: {len(job):,} texts × 1024"
    return (Table(title, columns, tuple(rows)),), (_plot(found, len(job)),)


@contextmanager
def _pool(size: int) -> Iterator[Embedder]:
    with ExitStack() as stack:
        urls = [stack.enter_context(server(service=SERVICE)).url for _ in range(size)]
        clients = [stack.enter_context(InfinityClient(url, model="m")) for url in urls]
        router = Router(clients)
        yield Embedder(router.begin, router.targets, batch_size=BATCH)


def _turn(embedder: Embedder, door: str, job: Sequence[str]) -> Turn:
    if door == "embed":
        return in_a_row(lambda: embedder.embed(job, Kind.PASSAGE), 1)
    return in_a_row_async(lambda: embedder.aembed(job, Kind.PASSAGE), 1)


def _row(size: int, found: Mapping[str, Laps], count: int, goal: Goal | None) -> Row:
    cells: list[Figure | str] = []
    for door in _DOORS:
        own, one = found[f"{door}, {size}"], found[f"{door}, 1"]
        cells.append(figure([count / seconds for seconds in own.wall], "/s"))
        cells.append(speedup(own, one, goal))
    return Row(f"{size} server{'s' if size > 1 else ''}", tuple(cells))


def _plot(found: Mapping[str, Laps], count: int) -> Plot:
    ideal = tuple(size * BATCH / SERVICE for size in SIZES)
    series = [Series("what the servers can serve", ideal, SIZES)]
    for door in _DOORS:
        rates = (count / median(found[f"{door}, {size}"].wall) for size in SIZES)
        series.append(Series(door, tuple(rates), SIZES, is_ours=True))
    title = "Texts a second over more and more servers"
    return Plot("servers", title, "servers", "texts a second", tuple(series), log="xy")
