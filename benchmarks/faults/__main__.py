"""The scorecard: ``python -m benchmarks.faults`` (``--docs docs`` writes it there too)."""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.faults.judge import Verdict, judge
from benchmarks.faults.scenarios import Scenario, load
from benchmarks.faults.systems import Build, systems

Results = dict[str, dict[str, Verdict]]


def main() -> None:
    """Judge every system in every scenario, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, help="folder to write the scorecard to")
    parser.add_argument("--only", help="the id of one scenario")
    given = parser.parse_args()
    # What the systems have to say about it is not the question here.
    logging.disable()
    warnings.simplefilter("ignore")
    scenarios = [one for one in load() if given.only in (None, one.id)]
    found: Results = {}
    known = systems()
    for scenario in scenarios:
        with ThreadPoolExecutor(len(known)) as threads:  # each has servers of its own
            verdicts = threads.map(partial(_judged, scenario), known.values())
            found[scenario.id] = dict(zip(known, verdicts, strict=True))
        print(f"{scenario.id}: {', '.join(found[scenario.id].values())}", flush=True)
    table = _table(scenarios, found)
    print(f"\n{table}")
    if given.docs:
        folder = given.docs / "benchmarks"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "faults.md").write_text(_page(table))
        (folder / "faults.json").write_text(json.dumps(found, indent=1) + "\n")


def _judged(scenario: Scenario, build: Build) -> Verdict:
    return judge(build, scenario)


def _table(scenarios: list[Scenario], found: Results) -> str:
    names = list(next(iter(found.values())))
    lines = [f"| what the servers do | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for scenario in scenarios:
        verdicts = " | ".join(found[scenario.id][name] for name in names)
        kind = "rerank" if scenario.path == "/rerank" else "embed"
        lines.append(f"| {kind}: {scenario.title} | {verdicts} |")
    totals = [Counter(found[one.id][name] for one in scenarios) for name in names]
    passed = [f"{total[Verdict.PASS]} of {sum(total.values())}" for total in totals]
    lines.append(f"| **passed** | {' | '.join(passed)} |")
    return "\n".join(lines)


_MEANINGS = {
    Verdict.PASS: "every call was answered as it must be, and the failing server left in peace;",
    Verdict.PARTIAL: "every call was answered, but the failing server was asked far too often;",
    Verdict.SAFE: "a call that could have been answered was not, and said so;",
    Verdict.FAIL: "a wrong answer was handed out as right, or a call did not come back in 20 s;",
    Verdict.NONE: "it does not offer this.",
}

_PEERS = (
    "litellm's routers have the second server as a fallback: over one group they would begin at\n"
    "either, by lot. LangChain's `.with_fallbacks()` and `ModelFallbackMiddleware`, and the\n"
    "package `langchain-failover` of PyPI, offer neither embeddings nor ranking."
)


def _page(table: str) -> str:
    verdicts = "\n".join(f"- **{verdict}**: {meaning}" for verdict, meaning in _MEANINGS.items())
    return (
        "# What servers do, and who survives it\n\n"
        "Two servers of one model, the first of which misbehaves (in some scenarios the second);\n"
        "`benchmarks/faults/catalogue.yaml` says how, and what must come of it. Made by\n"
        "`make faults`.\n\n"
        f"{verdicts}\n\n{_PEERS}\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
