"""What the simulation shows of our policies, and of their peers: docs/simulation.md in short runs.

``make test-full`` runs the sizes of that page.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.simulation.catalogue import (
    MEAN,
    brown_out,
    clock_jumps,
    collapse,
    fleet,
    silent_majority,
    stalls,
    throttling,
    tight_fleet,
    unequal,
)
from benchmarks.simulation.ledger import Ledger, Span
from benchmarks.simulation.policies import (
    COOLDOWNS,
    FALLBACKS,
    PEERS,
    SPREAD_FALLBACKS,
    SPREAD_RETRIES,
    Policy,
    ours,
)
from benchmarks.simulation.scenario import Run, Scenario
from benchmarks.simulation.servers import HEALTHY
from benchmarks.simulation.studies import HEDGED, PRIORITY, spreading, study
from benchmarks.simulation.tables import peaks, recovery
from tests.figures import FULL, Figure

pytestmark = pytest.mark.timeout(900)

OURS = [PRIORITY, *spreading()]
SPREADING = list(spreading())


def scale(ci: float) -> float:
    return 1.0 if FULL else ci


def named(policy: Policy) -> str:
    return policy.name


@pytest.mark.parametrize("policy", OURS, ids=named)
def test_a_fleet_with_half_its_targets_down_storms_nobody(policy: Policy, figure: Figure) -> None:
    scenario = fleet(scale(0.4))
    ledger = Run(scenario, policy).play()
    amplification, found = ledger.amplification(scenario.span), peaks(scenario, policy, ledger)
    figure(
        f"fleet, {policy.name}",
        calls=ledger.calls(Span(0, scenario.seconds)),
        worst={
            "sends a call": amplification,
            "peak of probes": found.probes,
            "peak of failback": found.failback,
            "peak on others": found.others,
            "recovery in cooldowns": recovery(scenario, ledger),
        },
    )
    assert amplification <= 1.2
    assert max(found.probes, found.others, found.failback) <= 1.5
    assert ledger.goodput(scenario.span) >= 0.99
    assert recovery(scenario, ledger) <= 2


@pytest.mark.parametrize("policy", SPREADING, ids=named)
def test_targets_that_fall_silent_are_left_alone_even_if_they_are_most(policy: Policy) -> None:
    scenario = silent_majority(scale(0.2))
    ledger = Run(scenario, policy).play()
    median = ledger.latencies(scenario.span)[0]
    assert median < 0.15
    assert ledger.amplification(scenario.span) <= 1.25


def test_targets_that_are_back_are_found_at_once_when_they_are_needed(figure: Figure) -> None:
    scenario, policy = tight_fleet(scale(0.2)), SPREADING[0]
    ledger = Run(scenario, policy).play()
    share = ledger.answers(scenario.span) / allowed(scenario, left=0.5, median=0.1)
    figure(
        f"tight fleet, {policy.name}",
        worst={"answered of what is possible": share, "cooldowns": recovery(scenario, ledger)},
    )
    assert share >= 0.9
    assert recovery(scenario, ledger) <= 2


@pytest.mark.parametrize("policy", spreading(total_timeout=30.0), ids=named)
def test_a_browned_out_fleet_answers_what_its_capacity_allows(
    policy: Policy, figure: Figure
) -> None:
    scenario = brown_out(scale(0.2))
    ledger = Run(scenario, policy).play()
    share = ledger.answers(scenario.span) / allowed(scenario, left=0.1, median=0.5)
    figure(
        f"brown-out, {policy.name}",
        worst={"answered of what is possible": share, "afterwards": afterwards(scenario, ledger)},
    )
    assert share >= 0.9
    assert afterwards(scenario, ledger) >= 0.99


def allowed(scenario: Scenario, *, left: float, median: float) -> float:
    """Return the answers that the share of capacity left during the trouble allows."""
    seconds = scenario.span.end - scenario.span.start
    return sum(scenario.slots) * left * seconds / (median * MEAN)


def afterwards(scenario: Scenario, ledger: Ledger) -> float:
    """Return the goodput from 45 s after the trouble."""
    return ledger.goodput(Span(scenario.span.end + 45.0, scenario.seconds))


@pytest.mark.parametrize("policy", [SPREAD_FALLBACKS, SPREAD_RETRIES, COOLDOWNS], ids=named)
def test_without_a_throttle_an_overload_outlives_its_cause(policy: Policy) -> None:
    scenario = collapse(scale(0.2))
    assert afterwards(scenario, Run(scenario, policy).play()) < 0.1


@pytest.mark.parametrize(
    "policy",
    spreading(total_timeout=10.0, adaptive_throttle=True),
    ids=named,
)
def test_with_the_adaptive_throttle_an_overload_ends_with_its_cause(
    policy: Policy, figure: Figure
) -> None:
    scenario = collapse(scale(0.2))
    ledger = Run(scenario, policy).play()
    figure(
        f"collapse, {policy.name}",
        worst={"afterwards": afterwards(scenario, ledger), "cooldowns": recovery(scenario, ledger)},
    )
    assert afterwards(scenario, ledger) >= 0.99


def test_a_hedge_hides_the_stalls_of_one_target(figure: Figure) -> None:
    scenario = stalls(scale(0.4))
    plain = ours("round_robin", "round_robin")
    well = Run(stalls(scale(0.4), condition=HEALTHY), plain).play().p99(scenario.span)
    stalled = Run(scenario, plain).play().p99(scenario.span)
    hedged = Run(scenario, HEDGED).play()
    figure(
        "hedging",
        worst={
            "p99 of the healthy one, stalled": stalled / well,
            "hedged": hedged.p99(scenario.span) / well,
            "sends a call": hedged.amplification(scenario.span),
        },
    )
    assert stalled > 2.0 * well
    assert hedged.p99(scenario.span) <= 1.3 * well
    assert hedged.amplification(scenario.span) <= 1.08


def test_least_loaded_spares_a_slower_target(figure: Figure) -> None:
    scenario = unequal(scale(0.3))
    by_turns, by_load = (Run(scenario, policy).play().p99(scenario.span) for policy in SPREADING)
    figure("unequal servers", worst={"p99 least_loaded / round_robin": by_load / by_turns})
    assert by_load <= 0.6 * by_turns


TROUBLES = ("outage", "silent", "slow", "flapping", "partition", "throttling", "clock-jumps")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_ours_lose_nothing_and_pay_less_than_a_list_of_fallbacks(
    trouble: str, figure: Figure
) -> None:
    played = study(f"small-{trouble}", scale(0.5))
    span = played.scenario.span
    fallbacks = Run(played.scenario, FALLBACKS).play()
    for policy in OURS:
        ledger = Run(played.scenario, policy).play()
        figure(
            f"{trouble}, {policy.name}",
            worst={
                "goodput": ledger.goodput(span),
                "sends a call": ledger.amplification(span),
                "of with_fallbacks": fallbacks.amplification(span),
            },
        )
        assert ledger.goodput(span) >= 0.99
        assert ledger.amplification(span) < fallbacks.amplification(span)
        assert recovery(played.scenario, ledger) == 0


def test_when_all_were_down_ours_are_back_at_once_and_cooldowns_are_not() -> None:
    played = study("small-correlated", scale(0.5))
    back = {
        policy.name: recovery(played.scenario, Run(played.scenario, policy).play())
        for policy in (*OURS, COOLDOWNS)
    }
    assert all(back[policy.name] == 0 for policy in OURS)
    assert back[COOLDOWNS.name] > 0


def test_a_wall_clock_that_jumps_by_an_hour_loses_nothing_and_storms_nobody() -> None:
    jumping, steady = clock_jumps(scale(0.5)), throttling(scale(0.5))
    for policy in OURS:
        ledger = Run(jumping, policy).play()
        calm = Run(steady, policy).play().amplification(steady.span)
        assert ledger.goodput(Span(0, jumping.seconds)) == 1.0
        assert ledger.amplification(jumping.span) <= calm + 0.05


def test_without_retry_dates_a_clock_jump_changes_nothing_at_all() -> None:
    steady = study("small-outage", scale(0.5)).scenario
    jumping = replace(steady, jumps=[(70.0, 3_600.0), (90.0, -7_200.0)])
    for policy in (*OURS, *PEERS):
        runs = [Run(scenario, policy).play() for scenario in (steady, jumping)]
        sent = [[run.load(server).tolist() for server in range(3)] for run in runs]
        assert sent[0] == sent[1]
