"""What a target costs in memory."""

from __future__ import annotations

import gc
import random
import tracemalloc
from typing import Any

from failover_core import Router, Target
from failover_core.testing import FakeClock
from tests.figures import Figure

TARGETS = 150
EVERY_LIMIT: dict[str, Any] = {
    "max_concurrency": 9,
    "requests_per_minute": 1e9,
    "requests_per_day": 10**9,
    "tokens_per_minute": 1e9,
    "price": (1, 2),
    "spend_limit": 1e9,
}


def test_a_target_with_every_limit_and_a_long_history_takes_less_than_4_kib(
    fake_clock: FakeClock, figure: Figure
) -> None:
    dice = random.Random(1)
    targets = [Target(object(), name=f"target {n}", **EVERY_LIMIT) for n in range(TARGETS)]
    policy = {"hedge": {}, "adaptive_throttle": True, "spend_limit": 1e9}

    def behave(_: object) -> float:
        fake_clock.advance(dice.expovariate(50))
        if dice.random() < 0.1:
            raise ConnectionRefusedError
        return fake_clock.now()

    gc.collect()
    tracemalloc.start()
    try:
        router = Router(targets, policy=policy, clock=fake_clock, dice=dice)
        for target in targets * 120:
            router.run(behave, preferred_target=target.name, tokens=100)
        router.events._history.clear()  # the thousand newest events are the pool's, not a target's
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0] // TARGETS
    finally:
        tracemalloc.stop()
    figure("memory", worst={"bytes_a_target": taken})
    assert taken <= 4_096
