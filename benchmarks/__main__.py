"""All benchmarks, or those named: ``python -m benchmarks [scenario ...] [--quick] [--docs docs]``.

Each scenario runs in a process of its own. The page is printed; ``--docs docs`` also puts it,
the figures as JSON and the plots into ``docs/benchmarks``, where scenarios that were not run keep
what they had.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from benchmarks.harness.markdown import section
from benchmarks.harness.processes import alone
from benchmarks.harness.records import Effort, Result
from benchmarks.harness.results import save
from benchmarks.harness.scenario import measured
from benchmarks.scenarios import NAMES, named

_INTRO = Path(__file__).parent / "intro.md"


def main() -> None:
    """Measure and write."""
    asked = _arguments()
    results: dict[str, Result] = {}
    failed = []
    for name in asked.scenarios:
        print(f"measuring: {name}", file=sys.stderr, flush=True)
        try:
            results[name] = alone(measured, name, Effort.QUICK if asked.quick else Effort.FULL)
        except Exception as error:  # noqa: BLE001 - the others are still measured
            traceback.print_exception(error, chain=False)
            failed.append(name)
            continue
        print(f"\n{section(name, results[name])}", flush=True)
        if asked.docs:
            save({name: results[name]}, asked.docs / "benchmarks", NAMES, _INTRO.read_text())
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", default=NAMES, metavar="scenario")
    parser.add_argument("--quick", action="store_true", help="small and rough")
    parser.add_argument(
        "--docs", type=Path, help="folder whose page, figures and plots are renewed"
    )
    asked = parser.parse_args()
    if unknown := [one for one in asked.scenarios if not named(one)]:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(NAMES)}")
    asked.scenarios = [name for one in asked.scenarios for name in named(one)]
    return asked


if __name__ == "__main__":
    main()
