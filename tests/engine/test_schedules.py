"""Random fault schedules in virtual time.

A failing seed is named by its test. ``FAILOVER_SEED=123 pytest tests/engine/test_schedules.py``
replays one seed alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from failover_core import AllTargetsFailedError
from tests.engine.doors import Doors, line
from tests.engine.worlds import World
from tests.figures import Figure, size

REPLAYED = os.environ.get("FAILOVER_SEED")
CALLS = 200
STRATEGIES = (
    "priority",
    "sticky",
    "round_robin",
    "weighted",
    "least_loaded",
    "fastest",
    "cheapest",
    "random",
)


def chunks(number: int, *, ci: int, full: int) -> list[Sequence[int]]:
    """Return the seeds in a number of parts, a test each."""
    if REPLAYED is not None:
        return [[int(REPLAYED)]]
    seeds = size(ci=ci, full=full)
    return [range(start, start + seeds // number) for start in range(0, seeds, seeds // number)]


def seeds_of(chunk: Sequence[int]) -> str:
    return f"seeds-{chunk[0]}-to-{chunk[-1]}"


def play(world: World) -> list[int]:
    """Make the calls of one world; return the numbers of those that were lost."""
    lost = []
    for number in range(CALLS):
        world.pass_time()
        since = world.clock.now()
        try:
            world.router.run(world.behave)
        except AllTargetsFailedError:
            if world.was_lost(since):
                lost.append(number)
    assert not any(target.in_flight for target in world.router.status().targets)
    return lost


def attempts_per_call(seeds: Sequence[int], strategy: str, figure: Figure) -> float:
    """Play the worlds of some seeds, in which no call may be lost."""
    sends, lost = 0, {}
    for seed in seeds:
        world = World(seed, strategy)
        if numbers := play(world):
            lost[seed] = numbers
        sends += world.sends
    calls = CALLS * len(seeds)
    figure(
        f"schedules, {strategy}",
        seeds=len(seeds),
        calls=calls,
        lost=sum(map(len, lost.values())),
        worst={"attempts a call": sends / calls},
    )
    assert not lost, "lost calls, by seed"
    return sends / calls


@pytest.mark.parametrize("seeds", chunks(8, ci=2_000, full=10_000), ids=seeds_of)
def test_no_call_is_lost_while_a_target_is_alive(seeds: Sequence[int], figure: Figure) -> None:
    assert attempts_per_call(seeds, "priority", figure) <= 1.1


@pytest.mark.parametrize("strategy", STRATEGIES[1:])
@pytest.mark.parametrize("seeds", chunks(1, ci=50, full=500), ids=seeds_of)
def test_no_strategy_loses_a_call(seeds: Sequence[int], strategy: str, figure: Figure) -> None:
    assert (
        attempts_per_call(seeds, strategy, figure) <= 1.2
    )  # who spreads meets every target that fails


@pytest.mark.parametrize("seeds", chunks(4, ci=120, full=1_000), ids=seeds_of)
def test_a_schedule_gives_the_same_events_through_every_door(
    seeds: Sequence[int], doors: Doors, figure: Figure
) -> None:
    policy: dict[str, Any] = {"retry": {"attempts": 2}}
    differing = []
    for seed in seeds:
        traces = []
        for name in Doors.names:
            world, door = World(seed, **policy), doors.named(name)
            for _ in range(60):
                world.pass_time()
                with suppress(AllTargetsFailedError):
                    door(world.router, world.behave)
            traces.append([*world.router.events, *world.router.status().targets])
        if any(trace != traces[0] for trace in traces):
            differing.append(seed)
    figure("parity", seeds=len(seeds), calls=len(seeds) * 4 * 60, differing_traces=len(differing))
    assert not differing, "seeds whose events differ from door to door"


@pytest.mark.parametrize("seeds", chunks(4, ci=100, full=1_000), ids=seeds_of)
def test_a_wall_clock_that_jumps_by_an_hour_changes_no_decision(
    seeds: Sequence[int], figure: Figure
) -> None:
    differing = []
    for seed in seeds:
        steady, jumping = World(seed), World(seed)
        for number in range(CALLS):
            for world in (steady, jumping):
                world.pass_time()
                with suppress(AllTargetsFailedError):  # nobody was alive throughout
                    world.router.run(world.behave)
            jumping.clock.jump((-3_600, 3_600, 3_600, -3_600)[number % 4])
        told = [[line(event) for event in world.router.events] for world in (steady, jumping)]
        if told[0] != told[1] or steady.sends != jumping.sends:
            differing.append(seed)
    figure(
        "clock jumps",
        jumps=CALLS * len(seeds),
        schedules_that_changed_a_state_for_it=len(differing),
    )
    assert not differing, "seeds whose events differ with the wall clock"
