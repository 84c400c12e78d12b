"""Embedding through a server that costs next to nothing, beside bare httpx and other classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from statistics import median, quantiles

from benchmarks.harness.comparing import TIMES, figure, jobs_plot, rows_beside, speedup
from benchmarks.harness.memory import peak_growth
from benchmarks.harness.processes import Worker, alone, worker
from benchmarks.harness.records import (
    NOT_INSTALLED,
    Effort,
    Figure,
    Goal,
    Plot,
    Row,
    Section,
    Series,
    Shape,
    Table,
)
from benchmarks.harness.turns import Laps, Turn, take_turns
from benchmarks.peers.embedding import (
    ARRAY,
    BRIDGED,
    LANGCHAIN_OPENAI,
    LISTS,
    LITELLM,
    LLAMAINDEX_OPENAI,
    PEERS,
    QUERY,
    WITHIN,
    Embeds,
    embed_turn,
    langchain_openai,
    of_langchain,
    of_llamaindex,
    peer_turn,
)
from benchmarks.peers.jobs import Job
from benchmarks.scenarios.healthy import section
from benchmarks.servers import server, texts
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind
from langchain_failover import FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding

TEXT = """
A server of another process whose vectors are ready. Texts that are asked for at the same moment all
differ; ours send single texts of the same moment in one request. `as lists`: what LangChain wants.
Within a BaseEmbedding, LlamaIndex copies every vector for its events, whoever embeds.
"""

CORE = "Failover, its core alone (arrays)"
LANGCHAIN = "FailoverEmbeddings (LangChain)"
WRAPPED = "FailoverEmbeddings over langchain-openai"
LLAMAINDEX = "FailoverEmbedding (LlamaIndex)"
NAMES = (
    LISTS,
    ARRAY,
    BRIDGED,
    CORE,
    LANGCHAIN,
    LANGCHAIN_OPENAI,
    WRAPPED,
    LITELLM,
    WITHIN,
    LLAMAINDEX,
    LLAMAINDEX_OPENAI,
)
APART = (LITELLM,)
"""It is not to be imported where the others are measured."""

DIMENSION = 1024
MANY = 10_000
STREAMED = 20
"""Times that many, where vectors are not kept."""

FLAT = Goal(at_most=64)
SINGLE, BATCH, CROWD = "1 text", "256 texts", "1 text, 64 at once, async"
TOO_SLOW = "not run: minutes, see 256 texts"

Found = dict[str, dict[str, Laps]]


def jobs(effort: Effort) -> list[tuple[Job, int]]:
    """Return the jobs, and rounds of each."""
    short, some, few = effort.of(15, quick=2), effort.of(7, quick=1), effort.of(3, quick=1)
    calls, crowd = effort.of(200, quick=50), effort.of(256, quick=64)
    found = [
        (Job(SINGLE, "query", calls), short),
        (Job("1 text, async", "aquery", calls, is_async=True), short),
        (Job("1 text, 64 threads", "query", crowd, at_once=64), some),
        (Job(CROWD, "aquery", crowd, at_once=64, is_async=True), some),
        (Job("1 text, 512 at once, async", "aquery", 512, at_once=512, is_async=True), few),
        (Job(BATCH, "documents", 2, size=256), some),
        (Job("256 texts, async", "adocuments", 2, size=256, is_async=True), some),
        (Job("10,000 texts", "documents", 1, size=MANY), few),
        (Job("10,000 texts, async", "adocuments", 1, size=MANY, is_async=True), few),
    ]
    return found if effort is Effort.FULL else [found[0], found[3], found[5]]


def measure(effort: Effort) -> Section:
    """Measure, and compare with the peers and with the goals."""
    return section("embedding", TEXT, _shown_by(effort))


def _shown_by(effort: Effort) -> Iterator[tuple[Table, Plot]]:
    with server(dimension=DIMENSION) as running, worker() as apart:
        found = {
            job.name: take_turns(dict(_turns(running.url, job, apart)), rounds)
            for job, rounds in jobs(effort)
        }
        measured = _names("10,000 texts") if effort is Effort.FULL else (LISTS, LANGCHAIN)
        count = effort.of(MANY, quick=1_000)
        peaks = {name: alone(peak_of, name, running.url, count) for name in measured}
        streamed = alone(peak_of_stream, running.url, STREAMED * count)
    title = f"Embedding over HTTP, {DIMENSION} dimensions, in requests of 256"
    tables = Table(title, ("", *TIMES), tuple(_rows(found)))
    yield tables, jobs_plot("times", title, LISTS, found, NAMES)
    yield _peers(found), _rates(found)
    yield _tails(found[CROWD])
    yield _memory(peaks, streamed, count)


def _turns(url: str, job: Job, apart: Worker) -> Iterator[tuple[str, Turn | None]]:
    for name in _names(job.name):
        if name in APART:
            if job.size < MANY:
                yield name, apart.turn(peer_turn, name, url, job)
            continue
        with suppress(ImportError):
            yield name, embed_turn(_build(name)(url), job)


def _rows(found: Found) -> Iterator[Row]:
    for job, laps in found.items():
        is_skipped = LITELLM in found[BATCH] and LITELLM not in laps
        absent = TOO_SLOW if is_skipped else NOT_INSTALLED
        yield from rows_beside(LISTS, laps, _names(job), job=job, absent=absent)


def _names(job: str) -> list[str]:
    """Return who does a job: the bridge to aiohttp is there for coroutines only."""
    left_out = set() if job.endswith("async") else {BRIDGED}
    if "at once" in job or "threads" in job:
        left_out |= {ARRAY, WITHIN}  # with one text they are as what they stand beside
    return [name for name in NAMES if name not in left_out]


def _build(name: str) -> Callable[[str], Embeds]:
    return (_OURS | PEERS)[name]


def _core(url: str) -> Embeds:
    router = Router([InfinityClient(url, model="m"), InfinityClient(url, model="m")])
    embedder = Embedder(router.begin, router.targets)
    return Embeds(
        lambda given: embedder.embed(given, Kind.PASSAGE),
        lambda given: embedder.aembed(given, Kind.PASSAGE),
        lambda text: embedder.embed([text], Kind.QUERY),
        lambda text: embedder.aembed([text], Kind.QUERY),
    )


def _wrapped(url: str) -> Embeds:
    return of_langchain(FailoverEmbeddings(targets=[langchain_openai(url), langchain_openai(url)]))


_OURS: dict[str, Callable[[str], Embeds]] = {
    CORE: _core,
    LANGCHAIN: lambda url: of_langchain(FailoverEmbeddings.from_urls([url, url], model="m")),
    WRAPPED: _wrapped,
    LLAMAINDEX: lambda url: of_llamaindex(FailoverEmbedding.from_urls([url, url], model="m")),
}


def _peers(found: Found) -> Table:
    """Compare ours with the peers, as the goals do."""
    wanted = (
        (BATCH, LANGCHAIN, LANGCHAIN_OPENAI, 2),
        (BATCH, LANGCHAIN, LITELLM, 40),
        (BATCH, LLAMAINDEX, LLAMAINDEX_OPENAI, None),
        (CROWD, LANGCHAIN, LANGCHAIN_OPENAI, 10),
        (CROWD, LLAMAINDEX, LLAMAINDEX_OPENAI, None),
        (CROWD, LANGCHAIN, LISTS, None),
    )
    rows = []
    for job, ours, peer, at_least in wanted:
        goal = None if at_least is None else Goal(at_least=at_least)
        faster = speedup(found[job].get(ours), found[job].get(peer), goal)
        rows.append(Row(f"{job}: {ours} against {peer}", (faster,)))
    return Table("Calls a second, as many times those of the peer", ("", "times"), tuple(rows))


def _tails(crowd: dict[str, Laps]) -> tuple[Table, Plot]:
    """Show how much longer the slowest calls take than most."""
    rows = []
    shown: dict[str, float] = {}
    for name, laps in crowd.items():
        if laps.each:
            middle, slow = median(laps.each), quantiles(laps.each, n=100)[98]
            shown[name] = slow * 1e3
            cells = Figure(middle, "s"), Figure(slow, "s"), Figure(slow / middle, "×")
            rows.append(Row(name, cells))
    title = f"{CROWD}: how long each call takes"
    series = (Series("p99", tuple(shown.values()), tuple(shown), is_ours=True),)
    plot = Plot("tails", f"{title}, p99", "", "ms", series, Shape.BARS, log="y")
    return Table(title, ("", "p50", "p99", "p99 / p50"), tuple(rows)), plot


def _rates(found: Found) -> Plot:
    series = []
    for name in NAMES:
        rates = {job: figure(laps[name].wall).value for job, laps in found.items() if name in laps}
        per_second = tuple(1 / seconds for seconds in rates.values())
        series.append(Series(name, per_second, tuple(rates), name in _OURS))
    title = "Embedding over HTTP: calls a second"
    return Plot("rates", title, "", "calls/s", tuple(series), Shape.BARS, log="y", base=1.0)


def peak_of(name: str, url: str, count: int) -> float | None:
    """Return by how many MiB embedding so many texts raises this process's peak."""
    given = texts(count)
    try:
        one = _build(name)(url)
        one.query(QUERY)
    except ImportError:
        return None
    return peak_growth(lambda: one.documents(given))


def peak_of_stream(url: str, count: int) -> float:
    """Return by how many MiB a stream of so many texts raises this process's peak."""
    embeddings = FailoverEmbeddings.from_urls(url, model="m")
    embeddings.embed_query(QUERY)

    def job() -> None:
        for _ in embeddings.iter_embed(f"{number:08d}" for number in range(count)):
            pass

    return peak_growth(job)


def _memory(peaks: dict[str, float | None], streamed: float, count: int) -> tuple[Table, Plot]:
    title = f"Memory: what embedding {count:,} texts adds to the peak of a process"
    bare = peaks[LISTS] or 1.0
    shown = {name: grown for name, grown in peaks.items() if grown is not None}
    rows = [
        Row(name, (Figure(shown[name], "MiB"), Figure(shown[name] / bare, "×")))
        if name in shown
        else Row(name, (NOT_INSTALLED, ""))
        for name in peaks
    ]
    name = f"FailoverEmbeddings.iter_embed, {STREAMED} times as many"
    rows.append(Row(name, (Figure(streamed, "MiB", goal=FLAT), Figure(streamed / bare, "×"))))
    series = (Series("MiB", tuple(shown.values()), tuple(shown), is_ours=True),)
    plot = Plot("memory", title, "", "MiB", series, Shape.BARS)
    return Table(title, ("", "peak", "× bare"), tuple(rows)), plot
