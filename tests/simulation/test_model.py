"""The simulator itself: that it models what it says, and replays."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from benchmarks.simulation.ledger import Span
from benchmarks.simulation.policies import FALLBACKS, SINGLE, ours
from benchmarks.simulation.scenario import Fault, Run, Scenario
from benchmarks.simulation.servers import Condition, exponential

PLAIN = Scenario(
    slots=[4],
    queue=10_000,
    service=exponential(1.0),
    clients=5,
    rate=3.2,
    seconds=20_000.0,
    patience=1e9,
    attempt_timeout=1e9,
    span=Span(0.0, 20_000.0),
)


def erlang_c(load: float, slots: int) -> float:
    """Return the share of requests that wait in an M/M/c queue (Erlang, 1917)."""
    terms = [load**k / math.factorial(k) for k in range(slots)]
    waiting = load**slots / math.factorial(slots) * slots / (slots - load)
    return waiting / (sum(terms) + waiting)


def test_a_server_is_the_queue_of_the_textbook() -> None:
    ledger = Run(PLAIN, SINGLE).play()
    latencies = ledger.latencies_of(PLAIN.span)
    expected = 1.0 + erlang_c(3.2, 4) / (4 - 3.2)
    assert latencies.mean() == pytest.approx(expected, rel=0.05)


def test_a_seed_replays_to_the_last_send() -> None:
    faults = [
        Fault(Span(10, 30), [0], Condition(errors=0.7)),
        Fault(Span(40, 50), [0], Condition(refuses=True)),
    ]
    scenario = replace(PLAIN, slots=[4, 4], rate=10.0, seconds=60.0, faults=faults)
    runs = [Run(scenario, ours("priority"), seed).play() for seed in (1, 1, 2)]
    sends = [[list(run.load(server)) for server in (0, 1)] for run in runs]
    assert sends[0] == sends[1] != sends[2]


def test_a_crash_loses_what_was_being_served_and_what_waited() -> None:
    crash = Fault(Span(30, 31), [0], Condition(refuses=True))
    scenario = replace(PLAIN, rate=100.0, seconds=60.0, queue=50, faults=[crash])
    ledger = Run(scenario, SINGLE).play()
    before, _, during = ledger.goodput_by_second()[28:31]
    assert before < 0.1  # a queue of 50 is full, 4 a second are served
    assert during == 0.0


def test_a_full_queue_turns_requests_away() -> None:
    ledger = Run(replace(PLAIN, rate=40.0, queue=8, seconds=500.0), SINGLE).play()
    assert ledger.answers(Span(0, 500)) / 500 == pytest.approx(4.0, rel=0.1)
    assert max(ledger.latencies_of(Span(0, 500))) < 25.0


def test_what_was_abandoned_is_worked_off_unless_servers_notice() -> None:
    overload = replace(PLAIN, rate=6.0, queue=100, seconds=500.0, attempt_timeout=5.0)
    deaf = Run(overload, SINGLE).play().answers(Span(100, 500))
    noticing = Run(replace(overload, notices=True), SINGLE).play().answers(Span(100, 500))
    assert deaf < 0.1 * noticing


def test_a_partition_cuts_off_only_some_clients() -> None:
    cut = Fault(Span(0, 400), [0], Condition(cut_off=frozenset({0, 1})))
    scenario = replace(PLAIN, seconds=400.0, rate=2.0, attempt_timeout=30.0, faults=[cut])
    assert Run(scenario, SINGLE).play().goodput(Span(0, 350)) == pytest.approx(0.6, abs=0.06)


def test_fallbacks_pay_for_a_dead_target_with_every_call() -> None:
    down = Fault(Span(0, 400), [0], Condition(refuses=True))
    scenario = replace(PLAIN, slots=[4, 4], seconds=400.0, faults=[down])
    assert Run(scenario, FALLBACKS).play().amplification(Span(0, 399)) == pytest.approx(2, abs=0.1)
