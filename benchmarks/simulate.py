"""What policies are worth in trouble, in virtual time: ``python -m benchmarks.simulate``.

It plays each study under each of its policies, on the real engine, and prints a Markdown table
for each; ``--plots docs/simulation`` draws them too. Names of studies limit it to those, and
``--scale 0.1`` makes it quick and rough.
"""

from __future__ import annotations

import argparse
import logging
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.simulation.ledger import Ledger
from benchmarks.simulation.scenario import Run
from benchmarks.simulation.studies import NAMES, study
from benchmarks.simulation.tables import HEADER, row


def main() -> None:
    """Play and print."""
    asked = _arguments()
    with ProcessPoolExecutor(asked.jobs) as workers:
        for name in asked.studies:
            played = study(name, asked.scale)
            play = partial(_play, name, asked.scale, asked.seed)
            ledgers = list(workers.map(play, range(len(played.policies))))
            print(f"\n### {name}\n\n{played.question}\n\n{HEADER}")
            for policy, ledger in zip(played.policies, ledgers, strict=True):
                print(row(played.scenario, policy, ledger), flush=True)
            if asked.plots:
                from benchmarks.simulation.plots import draw  # noqa: PLC0415 - matplotlib is slow

                draw(played, ledgers, asked.plots / f"{name}.png")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulate", description=__doc__)
    parser.add_argument("studies", nargs="*", default=NAMES, metavar="study")
    parser.add_argument("--scale", type=float, default=1.0, help="size of the runs (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="replays a run (default: 0)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at one time (default: 2)")
    parser.add_argument("--plots", type=Path, help="folder for the plots")
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
