"""What embedding costs, and what more servers bring: ``python -m benchmarks.embedding``.

Servers are processes of their own. Whoever is compared takes turns in every round, so that a busy
machine disturbs all alike; the cells are medians over the rounds. Only the ratios mean something
on another machine.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchmarks import embedding_batches, embedding_jobs, embedding_singles
from benchmarks.embedding_peers import peers
from benchmarks.servers import server
from benchmarks.tables import Goal, Row, print_table
from failover_core import Router
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind

STREAMED = 1_000_000
_PEAK_UNITS = 2**20 if sys.platform == "darwin" else 2**10
"""Of what the system says, in a MiB."""


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, metavar="part", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    print_table(row for part in asked.parts for row in PARTS[part](asked.rounds))


def _streamed(_: int) -> Iterator[Row]:
    """Measure what a stream of texts adds to the peak of memory."""
    with server() as running, InfinityClient(running.url, model="m") as client:
        router = Router([client])
        embedder = Embedder(router.begin, router.targets)
        embedder.embed(["warm"], Kind.PASSAGE)
        before, started, place = _peak(), time.perf_counter(), 0
        source = (f"{number:08d}" for number in range(STREAMED))
        for vectors in embedder.iter_embed(source, Kind.PASSAGE):
            expected = np.arange(place, place + len(vectors), dtype=np.float32)
            np.testing.assert_array_equal(vectors[:, 0], expected)
            place += len(vectors)
        seconds, grown = time.perf_counter() - started, _peak() - before
    what = f"iter_embed, {place:,} × 1024: growth of peak memory"
    yield Row(what, f"{seconds:.0f} s", "", Goal(grown, at_most=64, unit=" MiB"))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _PEAK_UNITS


def _to_one_server(rows: Callable[[str, int], Iterator[Row]], rounds: int) -> Iterator[Row]:
    with server() as running:
        peers(running.url)
        # The collector is not to look through the modules of all of them while we measure.
        gc.collect()
        gc.freeze()
        yield from rows(running.url, rounds)


PARTS: dict[str, Callable[[int], Iterator[Row]]] = {
    "stream": _streamed,  # first: the peak of a process never falls
    "jobs": embedding_jobs.rows,
    "singles": partial(_to_one_server, embedding_singles.rows),
    "batches": partial(_to_one_server, embedding_batches.rows),
}


if __name__ == "__main__":
    main()
