"""A server dies while a corpus is embedded: what it takes, and what is lost."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from benchmarks.harness.comparing import figure
from benchmarks.harness.processes import Worker, worker
from benchmarks.harness.records import (
    NOT_INSTALLED,
    Cell,
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
from benchmarks.harness.turns import loop
from benchmarks.peers.corpora import BATCH, PEERS, Build, Embed
from benchmarks.peers.trouble import REST, SERVICE, Outcome, Trouble, outcome, peer_in
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind
from langchain_failover import FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding

TEXT = f"""
A corpus is embedded, {BATCH} texts × 1024 to a request, over servers that serve one request at a
time in {SERVICE * 1e3:.0f} ms, whatever is in it. All have been used before. On the way the first
server is killed (SIGKILL) in the middle of a request. *× what is left* compares the time with that
in which the servers that are left, and the dead one while it lived, can serve it all, none of them
idle. A job that ends with an error has lost all its texts. The request that the server died of has
to be sent again by anybody: *sent twice* counts its texts, and others; *answered twice* those that
a server embedded although another one had.

Retries of the clients' own are off where that can be: they would only wait for the dead server.
`num_workers` of llama-index is of use with one server only, the one that dies here. litellm's
routers have one round, and none in a quick run.
"""


def _embedder(urls: list[str]) -> Embedder:
    router = Router([InfinityClient(url, model="m") for url in urls])
    return Embedder(router.begin, router.targets, batch_size=BATCH)


def _core(urls: list[str]) -> Embed:
    embedder = _embedder(urls)
    return lambda texts: embedder.embed(texts, Kind.PASSAGE)


def _core_async(urls: list[str]) -> Embed:
    embedder = _embedder(urls)
    return lambda texts: loop().run(embedder.aembed(texts, Kind.PASSAGE))


def _langchain(urls: list[str]) -> Embed:
    return FailoverEmbeddings.from_urls(urls, model="m", batch_size=BATCH).embed_documents


def _langchain_async(urls: list[str]) -> Embed:
    one = FailoverEmbeddings.from_urls(urls, model="m", batch_size=BATCH)
    return lambda texts: loop().run(one.aembed_documents(texts))


def _llamaindex(urls: list[str]) -> Embed:
    return FailoverEmbedding.from_urls(urls, model="m").get_text_embedding_batch


def _llamaindex_async(urls: list[str]) -> Embed:
    one = FailoverEmbedding.from_urls(urls, model="m")
    return lambda texts: loop().run(one.aget_text_embedding_batch(texts))


_CORE: dict[str, Build] = {"Embedder.embed": _core, "Embedder.aembed": _core_async}
_OURS: dict[str, Build] = {
    **_CORE,
    "FailoverEmbeddings (LangChain)": _langchain,
    "FailoverEmbeddings, async": _langchain_async,
    "FailoverEmbedding (LlamaIndex)": _llamaindex,
    "FailoverEmbedding, async": _llamaindex_async,
}

Outcomes = dict[str, list[Outcome]]
"""The rounds of each contestant; none of one that is not installed."""

_SLOW = [name for name in PEERS if "litellm" in name]
"""Those that take many times as long; they have one round, in a process of their own."""

_WHY = (
    "when one server's requests go to the others, these open new connections, each of which is "
    "verified by a canary; and a request of one text takes as long as any other here"
)

_KILLED = Trouble(texts=20_000, servers=3, killed_after=1.0)
_KILLED_SOON = Trouble(texts=2_560, servers=3, killed_after=0.2)
_THROTTLED_TOO = Trouble(texts=50_000, servers=4, killed_after=1.0, throttled_after=1.8)


def measure(effort: Effort) -> Section:
    """Kill a server under everybody; kill one and throttle another under ours."""
    is_full = effort is Effort.FULL
    killed = _KILLED if is_full else _KILLED_SOON
    quick = [name for name in (*_OURS, *PEERS) if name not in _SLOW]
    jobs: dict[Trouble, Iterable[str]] = {killed: quick}
    if is_full:
        jobs = {killed: [*quick, *_SLOW], _THROTTLED_TOO: _CORE}
    rounds = effort.of(3, quick=1)
    found = {trouble: _outcomes(trouble, names, rounds) for trouble, names in jobs.items()}
    # At the end of a short job nothing is left for some of the servers.
    goal = Goal(at_most=1.1, why=_WHY) if is_full else None
    tables = tuple(_table(trouble, outcomes, goal) for trouble, outcomes in found.items())
    return Section("Death in the middle", TEXT, tables, (_plot(killed, found[killed]),))


def _outcomes(trouble: Trouble, names: Iterable[str], rounds: int) -> Outcomes:
    """Let everybody do the job in every round, one after the other."""
    found: Outcomes = {name: [] for name in names}
    with worker() as shared, worker() as apart:
        for number in range(rounds):
            for name, outcomes in found.items():
                is_slow = name in _SLOW
                if number and is_slow:
                    continue
                made = _outcome(apart if is_slow else shared, trouble, name)
                outcomes.extend([made] if made else [])
    return found


def _outcome(one: Worker, trouble: Trouble, name: str) -> Outcome | None:
    return one.call(ours_in if name in _OURS else peer_in, trouble, name)


def ours_in(trouble: Trouble, name: str) -> Outcome | None:
    """Let one of ours do the job."""
    return outcome(trouble, _OURS[name])


def _table(trouble: Trouble, found: Outcomes, goal: Goal | None) -> Table:
    columns = ("", "time", "× what is left", "lost", "shifted", "sent twice", "answered twice")
    title = f"{trouble.texts:,} texts, {trouble.servers} servers, one killed"
    if trouble.throttled_after is not None:
        title += f", one throttled for {REST} s"
    rows = (Row(name, _cells(trouble, name, one, goal)) for name, one in found.items())
    return Table(title, columns, tuple(rows))


def _cells(
    trouble: Trouble, name: str, outcomes: list[Outcome], goal: Goal | None
) -> tuple[Cell, ...]:
    if not outcomes:
        return (NOT_INSTALLED, *[""] * 5)
    none = Goal(at_most=0) if name in _OURS else None
    shares = [one.seconds / trouble.allowed for one in outcomes]
    return (
        figure([one.seconds for one in outcomes], "s"),
        figure(shares, "×", goal if name in _CORE else None),
        Figure(max(one.lost for one in outcomes), goal=none),
        Figure(max(one.shifted for one in outcomes), goal=none),
        Figure(max(one.again for one in outcomes)),
        Figure(max(one.twice for one in outcomes), goal=none if name in _CORE else None),
    )


def _plot(trouble: Trouble, found: Outcomes) -> Plot:
    """Return a plot of the times of those who lost nothing."""
    whole = {
        name: median(one.seconds for one in outcomes)
        for name, outcomes in found.items()
        if outcomes and not any(one.lost for one in outcomes)
    }
    times = {"what is left allows": trouble.allowed, **whole}
    series = (Series("time", tuple(times.values()), tuple(times), is_ours=True),)
    title = f"{trouble.texts:,} texts, one of {trouble.servers} servers killed, nothing lost"
    return Plot("time", title, "", "s", series, Shape.BARS)
