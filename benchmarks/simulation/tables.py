"""Figures of runs as Markdown tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from itertools import repeat
from pathlib import Path

from benchmarks.simulation.ledger import Ledger, Span
from benchmarks.simulation.policies import Policy
from benchmarks.simulation.scenario import Scenario
from benchmarks.simulation.studies import Study

_COLUMNS = (
    "policy",
    "goodput during",
    "after",
    "p50",
    "p95",
    "p99",
    "p99.9",
    "sends a call during",
    "after",
    "peak, found out",
    "probes",
    "others",
    "failback",
    "recovery",
)

HEADER = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"

COOLDOWN = 5.0
"""Seconds of the first cooldown of every policy that has one; recovery is counted in it."""

_FINDING_OUT = 10.0
"""Seconds from the beginning of a trouble in which clients learn of it."""


def table(study: Study, ledgers: Sequence[Ledger]) -> str:
    """Return the figures of a study, a row for each policy."""
    rows = map(row, repeat(study.scenario), study.policies, ledgers)
    return "\n".join([HEADER, *rows])


def matrix(played: Mapping[str, tuple[Study, Sequence[Ledger]]]) -> str:
    """Return goodput, p99 and sends a call of the same policies in several studies."""
    studies = [study for study, _ in played.values()]
    lines = [f"| policy | {' | '.join(played)} |", f"|{' --- |' * (len(played) + 1)}"]
    runs = zip(*(ledgers for _, ledgers in played.values()), strict=True)
    for policy, ledgers in zip(studies[0].policies, runs, strict=True):
        cells = map(_brief, studies, ledgers)
        lines.append(f"| {policy.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _brief(study: Study, ledger: Ledger) -> str:
    span = study.scenario.span
    goodput, sends = ledger.goodput(span), ledger.amplification(span)
    return f"{goodput:.1%}, {_cell(ledger.p99(span), '{:.1f} s')}, {sends:.2f}"


def write(name: str, text: str, page: Path) -> None:
    """Put a table into a page, between the comments that bear its name, if it has them."""
    start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, found, rest = page.read_text().partition(start)
    if found:
        page.write_text(before + start + text + end + rest.partition(end)[2])


def row(scenario: Scenario, policy: Policy, ledger: Ledger) -> str:
    """Return the figures of one run: during the trouble, and after it.

    Latencies are those of calls that began during the trouble and were answered. Recovery is the
    time from the end of the trouble to the last second with a goodput below 99 %, in cooldowns.
    """
    during, after = scenario.span, Span(scenario.span.end, scenario.seconds)
    cells = [
        *(_cell(ledger.goodput(span), "{:.2%}") for span in (during, after)),
        *(_cell(seconds, "{:.2f} s") for seconds in ledger.latencies(during)),
        *(_cell(ledger.amplification(span)) for span in (during, after)),
        *(_cell(peak) for peak in astuple(peaks(scenario, policy, ledger))),
        _cell(recovery(scenario, ledger), "{:.1f}"),
    ]
    return f"| {' | '.join([policy.name, *cells])} |"


def recovery(scenario: Scenario, ledger: Ledger) -> float:
    """Return the time to recover in cooldowns; NaN if the run ends with the trouble."""
    end = scenario.span.end
    if end >= scenario.seconds:
        return math.nan
    return ledger.recovery(end, scenario.seconds) / COOLDOWN


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most sends to one target in one second, as a multiple of its steady load.

    That is its even share of the calls, or all of them under policies that have a first choice.

    Attributes:
        found_out: of the faulty ones, while clients learn of the trouble.
        probes: of the faulty ones, from then on.
        others: of those that are well, during the trouble.
        failback: of those that were faulty, after the trouble.
    """

    found_out: float
    probes: float
    others: float
    failback: float


def peaks(scenario: Scenario, policy: Policy, ledger: Ledger) -> Peaks:
    """Return the peaks of a run; NaN where there are no such targets."""
    everyone = range(len(scenario.slots))
    faulty = sorted({number for fault in scenario.faults for number in fault.servers})
    others = [number for number in everyone if number not in faulty]
    start, end = scenario.span.start, scenario.span.end
    known = start + _FINDING_OUT

    def peak(servers: Sequence[int], span: Span, sharing: int) -> float:
        steady = scenario.rate / (sharing if policy.spreads else 1)
        return ledger.peak(servers, span) / steady

    return Peaks(
        found_out=peak(faulty, Span(start, known), len(everyone)),
        probes=peak(faulty, Span(known, end), len(everyone)),
        others=peak(others, scenario.span, len(others) or 1),
        failback=peak(faulty, Span(end, scenario.seconds), len(everyone)),
    )


def _cell(number: float, shape: str = "{:.2f}") -> str:
    return "" if math.isnan(number) else shape.format(number)
