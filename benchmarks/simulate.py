"""What policies are worth in trouble, in virtual time: ``python -m benchmarks.simulate``.

It plays each study under each of its policies, on the real engine, and prints a Markdown table
for each. ``--docs docs`` also renews the tables of ``docs/simulation.md``, and its plots. Names of
studies limit it to those, and ``--scale 0.1`` makes it quick and rough.
"""

from __future__ import annotations

import argparse
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.simulation.ledger import Ledger
from benchmarks.simulation.scenario import Run
from benchmarks.simulation.studies import NAMES, SMALL, Study, study
from benchmarks.simulation.tables import matrix, table, write

_PAGE = "simulation.md"


def main() -> None:
    """Play and print."""
    asked = _arguments()
    small: dict[str, tuple[Study, list[Ledger]]] = {}
    with ProcessPoolExecutor(asked.jobs) as workers:
        for name in asked.studies:
            played = study(name, asked.scale)
            play = partial(_play, name, asked.scale, asked.seed)
            ledgers = list(workers.map(play, range(len(played.policies))))
            print(f"\n### {name}\n\n{played.question}\n\n{table(played, ledgers)}", flush=True)
            if asked.docs:
                _renew(name, played, ledgers, asked.docs)
            if name in SMALL:
                small[name] = played, ledgers
    if asked.docs and len(small) == len(SMALL):
        write("small", matrix(small), asked.docs / _PAGE)


def _renew(name: str, played: Study, ledgers: list[Ledger], docs: Path) -> None:
    """Put a study's table into the page, and draw the plot if the page shows it."""
    from benchmarks.simulation.plots import draw  # noqa: PLC0415 - of an extra

    write(name, table(played, ledgers), docs / _PAGE)
    plot = Path("simulation", f"{name}.png")
    if plot.as_posix() in (docs / _PAGE).read_text():
        draw(played, ledgers, docs / plot)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("studies", nargs="*", default=NAMES, metavar="study")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the runs (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="replays a run (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at one time (default: 2)")
    parser.add_argument("--docs", type=Path, help="folder whose page and plots are renewed")
    asked = parser.parse_args()
    if unknown := set(asked.studies).difference(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(NAMES)}")
    return asked


def _play(name: str, scale: float, seed: int, policy: int) -> Ledger:
    logging.getLogger("failover_core").setLevel(logging.CRITICAL)
    played = study(name, scale)
    return Run(played.scenario, played.policies[policy], seed).play()


if __name__ == "__main__":
    main()
