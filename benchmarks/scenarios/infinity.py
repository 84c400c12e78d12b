"""Real Infinity servers with a real model: one and two of them, beside a bare client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import httpx

from benchmarks.harness.comparing import figure, speedup
from benchmarks.harness.records import Effort, Plot, Row, Section, Series, Shape, Table
from benchmarks.harness.turns import Laps, Turn, in_a_row, in_a_row_async, take_turns
from benchmarks.servers import texts
from langchain_failover import FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding
from scripts.real_servers import EMBEDDING_MODEL, Installation, RealServers, installed

TITLE = "Real Infinity servers"
BATCH = 256
"""Texts of a request: what the classes send if nobody says otherwise."""

_QUESTION = " What does the pilot count on the third day?"

TEXT = f"""
Two Infinity servers with a real model (MiniLM, 384 dimensions, torch on the CPU), each a process
with **one** thread for its arithmetic, so that the second one does not take its cores from the
first: what is compared is what a second server adds, not what a CPU can do. (Where other work
keeps the cores busy, it has nowhere to run: see the load below.) All send {BATCH} texts
to a request, each a short question. The bare client (httpx) sends one request after the other.
"""
ABSENT = """
Not measured: the servers are not installed here. `python scripts/real_servers.py` installs them
(1.5 GB into the user's cache, once; so does `make test-real`).
"""

LEFT_OUT = """
Not measured: two servers take half a minute to start, which a quick run has not.
"""

BARE = "httpx, one server"
_DOORS = {
    "LangChain, embed_documents": (False, "embed_documents"),
    "LangChain, aembed_documents": (True, "aembed_documents"),
    "LlamaIndex, get_text_embedding_batch": (False, "get_text_embedding_batch"),
    "LlamaIndex, aget_text_embedding_batch": (True, "aget_text_embedding_batch"),
}


def measure(effort: Effort) -> Section:
    """Embed through one server and through two, if they are installed and there is time."""
    if effort is Effort.QUICK:
        return Section(TITLE, LEFT_OUT, ())
    found = installed()
    return _measured(found) if found else Section(TITLE, ABSENT, ())


def _measured(installation: Installation) -> Section:
    job = texts(1_000, _QUESTION)
    with RealServers(installation) as servers:
        turns = {BARE: in_a_row(lambda: _embed(servers.urls[0], job), 1)}
        for name in _DOORS:
            turns |= {
                f"{name}, {count}": _turn(name, servers.urls[:count], job) for count in (1, 2)
            }
        found = take_turns(turns, 3)
    columns = ("", "one server", "× httpx", "two servers", "× one server")
    bare = figure(_rates(found[BARE], job), "/s")
    rows = (Row("httpx", (bare, "", "", "")), *(_row(name, found, job) for name in _DOORS))
    title = f"Texts a second, of {len(job):,}"
    return Section(TITLE, TEXT, (Table(title, columns, rows),), (_plot(found, job),))


def _embed(url: str, job: Sequence[str]) -> list[list[float]]:
    """Embed as one does without a library."""
    vectors: list[list[float]] = []
    with httpx.Client(timeout=60) as client:
        for start in range(0, len(job), BATCH):
            body = {"model": EMBEDDING_MODEL, "input": job[start : start + BATCH]}
            answer = client.post(f"{url}/embeddings", json=body).raise_for_status()
            vectors += [item["embedding"] for item in answer.json()["data"]]
    return vectors


def _turn(name: str, urls: Sequence[str], job: Sequence[str]) -> Turn:
    is_async, door = _DOORS[name]
    embed = getattr(_model(name, list(urls)), door)
    turn = in_a_row_async if is_async else in_a_row
    return turn(lambda: embed(job), 1)


def _model(name: str, urls: list[str]) -> FailoverEmbeddings | FailoverEmbedding:
    kind = FailoverEmbeddings if name.startswith("LangChain") else FailoverEmbedding
    return kind.from_urls(urls, model=EMBEDDING_MODEL)


def _rates(laps: Laps, job: Sequence[str]) -> list[float]:
    return [len(job) / seconds for seconds in laps.wall]


def _row(name: str, found: Mapping[str, Laps], job: Sequence[str]) -> Row:
    one, two = found[f"{name}, 1"], found[f"{name}, 2"]
    cells = (
        figure(_rates(one, job), "/s"),
        speedup(one, found[BARE]),
        figure(_rates(two, job), "/s"),
        speedup(two, one),
    )
    return Row(name, cells)


def _plot(found: Mapping[str, Laps], job: Sequence[str]) -> Plot:
    rates = {name: median(_rates(laps, job)) for name, laps in found.items()}
    bare = Series(BARE, (rates[BARE],), ("httpx",))
    ours = (
        Series(
            words,
            tuple(rates[f"{name}, {count}"] for name in _DOORS),
            tuple(_DOORS),
            is_ours=True,
        )
        for count, words in ((1, "one server"), (2, "two servers"))
    )
    title = "Texts a second through real servers"
    return Plot("throughput", title, "", "texts a second", (bare, *ours), Shape.BARS)
