"""Figures of a run, as a row of a Markdown table."""

from __future__ import annotations

import math
from collections.abc import Iterable

from benchmarks.simulation.ledger import Ledger, Span
from benchmarks.simulation.policies import Policy
from benchmarks.simulation.scenario import Scenario

_COLUMNS = (
    "policy",
    "goodput during",
    "after",
    "p50 during",
    "p95",
    "p99",
    "p99.9",
    "sends a call during",
    "after",
    "peak on faulty",
    "on others",
    "on recovered",
    "recovery",
)

HEADER = f"| {' | '.join(_COLUMNS)} |\n|{' --- |' * len(_COLUMNS)}"

COOLDOWN = 5.0
"""Seconds of the first cooldown of every policy that has one; recovery is counted in it."""


def row(scenario: Scenario, policy: Policy, ledger: Ledger) -> str:
    """Return the figures of one run: during the trouble, and after it.

    Latencies are those of answered calls. Peaks are the most sends in one second, as a multiple
    of the even share of the calls (for policies with an order: of all calls). Recovery is the time
    from the end of the trouble to the last second with a goodput below 99 %, in cooldowns.
    """
    during, after = scenario.span, Span(scenario.span.end, scenario.seconds)
    cells = [
        *(_cell(ledger.goodput(span), "{:.2%}") for span in (during, after)),
        *(_cell(seconds, "{:.2f} s") for seconds in ledger.latencies(during)),
        *(_cell(ledger.amplification(span)) for span in (during, after)),
        *(_cell(peak) for peak in peaks(scenario, policy, ledger)),
        _cell(ledger.recovery(after.start, after.end) / COOLDOWN, "{:.1f}"),
    ]
    return f"| {' | '.join([policy.name, *cells])} |"


def _cell(number: float, shape: str = "{:.2f}") -> str:
    return "" if math.isnan(number) else shape.format(number)


def peaks(scenario: Scenario, policy: Policy, ledger: Ledger) -> tuple[float, float, float]:
    """Return the peak load of the faulty targets and the others, and of the first afterwards."""
    everyone = range(len(scenario.slots))
    faulty = sorted({number for fault in scenario.faults for number in fault.servers})
    others = [number for number in everyone if number not in faulty]
    during, after = scenario.span, Span(scenario.span.end, scenario.seconds)

    def peak(servers: Iterable[int], span: Span, sharing: int) -> float:
        steady = scenario.rate / (sharing if policy.spreads else 1)
        return ledger.peak(servers, span) / steady

    return (
        peak(faulty, during, len(everyone)),
        peak(others, during, len(others) or 1),
        peak(faulty, after, len(everyone)),
    )
