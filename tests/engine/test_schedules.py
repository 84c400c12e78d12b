"""A thousand random fault schedules in virtual time.

A failing seed is named by its test. ``FAILOVER_SEED=123 pytest tests/engine/test_schedules.py``
replays one seed alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from failover_core import AllTargetsFailedError
from tests.engine.doors import Doors, line
from tests.engine.worlds import World

REPLAYED = os.environ.get("FAILOVER_SEED")
CALLS = 200


def chunks(seeds: int, number: int) -> list[Sequence[int]]:
    if REPLAYED is not None:
        return [[int(REPLAYED)]]
    size = seeds // number
    return [range(start, start + size) for start in range(0, seeds, size)]


def seeds_of(chunk: Sequence[int]) -> str:
    return f"seeds-{chunk[0]}-to-{chunk[-1]}"


@pytest.mark.parametrize("seeds", chunks(1_000, 8), ids=seeds_of)
def test_no_call_is_lost_while_a_target_is_alive(seeds: Sequence[int]) -> None:
    sends = 0
    for seed in seeds:
        world = World(seed)
        for number in range(CALLS):
            world.pass_time()
            since = world.clock.now()
            try:
                world.router.run(world.behave)
            except AllTargetsFailedError:
                assert not world.was_lost(since), f"seed {seed}, call {number} was lost"
        assert not any(target.in_flight for target in world.router.status().targets)
        sends += world.sends
    assert sends <= 1.1 * CALLS * len(seeds)


@pytest.mark.parametrize("seeds", chunks(120, 4), ids=seeds_of)
def test_a_schedule_gives_the_same_events_through_every_door(
    seeds: Sequence[int], doors: Doors
) -> None:
    policy = {"retry": {"attempts": 2}}
    for seed in seeds:
        traces = []
        for name in Doors.names:
            world, door = World(seed, **policy), doors.named(name)
            for _ in range(60):
                world.pass_time()
                door(world.router, world.behave)
            traces.append([*world.router.events, *world.router.status().targets])
        assert all(trace == traces[0] for trace in traces), f"seed {seed}"


@pytest.mark.parametrize("seeds", chunks(100, 2), ids=seeds_of)
def test_a_wall_clock_that_jumps_by_an_hour_changes_no_decision(seeds: Sequence[int]) -> None:
    for seed in seeds:
        steady, jumping = World(seed), World(seed)
        for number in range(CALLS):
            for world in (steady, jumping):
                world.pass_time()
                world.router.run(world.behave)
            jumping.clock.jump((-3_600, 3_600, 3_600, -3_600)[number % 4])
        told = [[line(event) for event in world.router.events] for world in (steady, jumping)]
        assert told[0] == told[1], f"seed {seed}"
        assert steady.sends == jumping.sends, f"seed {seed}"
