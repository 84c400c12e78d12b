"""Active probes: what they ask, when, and how little they decide."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from failover_core import ConfigurationError, EventKind, FailoverPolicy, Router, Target
from failover_core.clients import InfinityClient, OpenAICompatibleClient
from failover_core.health.prober import Prober
from failover_core.testing import FakeClock, FaultServer, ScriptedClient, faults
from tests.engine.doors import REFUSED, ask, fail_first, status


def well(_: Any) -> None:
    """Be well."""


def ill(_: Any) -> None:
    raise REFUSED


def settled(router: Router) -> None:
    """Wait for the probes under way."""
    while any(target.health == "checking" for target in router.status().targets):
        time.sleep(0.001)


# What a probe asks


def test_a_probe_of_a_server_asks_its_free_endpoint(fault_server: FaultServer) -> None:
    clients = [
        InfinityClient(fault_server.url, model="m"),
        OpenAICompatibleClient(fault_server.url, model="m"),
    ]
    with Router(clients) as router:
        assert set(router.probe().values()) == {True}
    assert sorted(request.path for request in fault_server.requests) == ["/health", "/models"]
    assert {request.method for request in fault_server.requests} == {"GET"}


@pytest.mark.parametrize(
    "fault", [faults.Status(500), faults.Refuse(), faults.Status(401), faults.Hang()], ids=repr
)
def test_a_server_that_does_not_answer_well_is_not_well(
    fault_server: FaultServer, fault: Any
) -> None:
    fault_server.fault = fault
    policy = {"probe": {"timeout": 0.5}}
    with Router([InfinityClient(fault_server.url, model="m")], policy=policy) as router:
        assert list(router.probe().values()) == [False]


async def test_a_probe_does_not_block_the_loop(fault_server: FaultServer) -> None:
    fault_server.fault = faults.Hang()
    async with Router(
        [InfinityClient(fault_server.url, model="m")], policy={"probe": {"timeout": 0.5}}
    ) as router:
        probe = asyncio.ensure_future(router.aprobe())
        ticks = 0
        while not probe.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert ticks > 10
        assert list((await probe).values()) == [False]


def test_what_only_a_billed_request_could_ask_is_not_asked(pool: Callable[..., Router]) -> None:
    class Embedding:
        def __init__(self) -> None:
            self.calls = 0

        def embed(self, texts: list[str], kind: str) -> list[list[float]]:
            self.calls += 1
            return [[1.0]]

    client = Embedding()
    assert pool(client).probe() == {}
    assert client.calls == 0
    assert pool(client, policy={"probe": {"billed": True}}).probe() == {"Embedding": True}
    assert client.calls == 1


async def acheck(client: Any) -> bool:
    await asyncio.sleep(0)
    return bool(client.name == "a")


def test_a_check_of_the_policy_may_be_a_coroutine_function(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", policy={"probe": {"check": acheck}})
    assert router.probe() == {"a": True, "b": False}


def test_a_targets_own_probe_comes_before_the_policys(pool: Callable[..., Router]) -> None:
    router = pool(Target("x", name="a", probe=ill), policy={"probe": {"check": well}})
    assert router.probe("a") == {"a": False}


def test_a_check_that_hangs_is_not_waited_for(pool: Callable[..., Router]) -> None:
    over = threading.Event()
    policy = {"probe": {"check": lambda _: over.wait(30), "timeout": 0.05}}
    assert pool("a", policy=policy).probe() == {"a": False}
    over.set()


def test_a_disabled_target_is_not_probed(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", policy={"probe": {"check": well}})
    router.disable("a")
    assert router.probe() == {"b": True}


def test_an_unknown_target_is_refused(pool: Callable[..., Router]) -> None:
    with pytest.raises(ConfigurationError, match="there is no target 'z'; it has a"):
        pool("a").probe("z")


def test_twenty_probes_at_once_send_one(pool: Callable[..., Router]) -> None:
    together, sends = threading.Barrier(20), []
    release = threading.Event()

    def check(client: Any) -> None:
        sends.append(client.name)
        release.wait(10)

    router = pool("a", policy={"probe": {"check": check, "interval": 60}})
    results: list[dict[str, bool]] = []

    def probe() -> None:
        together.wait(10)
        results.append(router.probe())

    threads = [threading.Thread(target=probe) for _ in range(20)]
    for thread in threads:
        thread.start()
    while not sends:
        time.sleep(0.001)
    assert router.status()["a"].health == "checking"
    time.sleep(0.05)
    release.set()
    for thread in threads:
        thread.join()
    assert results == [{"a": True}] * 20
    assert sends == ["a"]


# What follows from it


def test_health_ends_a_cooldown_and_a_call_closes_the_breaker(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"probe": {"check": well}})
    fail_first(router, 5)
    assert router.status()["a"].cooldown_remaining > 0
    router.probe("a")
    target = router.status()["a"]
    assert (target.state, target.cooldown_remaining) == ("open", 0)
    assert [event.kind for event in router.events][-1] == EventKind.PROBING
    assert [router.run(ask), router.run(ask)] == ["a", "a"]
    assert router.status()["a"].state == "closed"


@pytest.mark.parametrize("code", [401, 402])
def test_health_says_nothing_about_a_key_or_a_quota(pool: Callable[..., Router], code: int) -> None:
    router = pool(
        ScriptedClient("a", [status(code)], default="a"), "b", policy={"probe": {"check": well}}
    )
    router.run(ask)
    router.probe()
    assert router.status()["a"].cooldown_remaining > 200


def test_health_does_not_shorten_what_a_server_asked_for(pool: Callable[..., Router]) -> None:
    throttled = ScriptedClient("a", [status(429, retry_after="60")], default="a")
    router = pool(throttled, "b", policy={"probe": {"check": well}})
    router.run(ask)
    router.probe()
    assert router.status()["a"].cooldown_remaining >= 60


def test_an_idle_pool_notices_a_dead_target_before_its_next_call(
    pool: Callable[..., Router],
) -> None:
    router = pool(
        Target(ScriptedClient("a", default="a"), name="a", probe=ill),
        Target(ScriptedClient("b", default="b"), name="b", probe=well),
    )
    for _ in range(5):
        router.probe()
    assert router.status()["a"].state == "open"
    assert router.status().active == "b"
    assert router.run(ask) == "b"


def test_a_failed_probe_of_an_ejected_target_changes_nothing(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    router = pool("a", "b", policy={"probe": {"check": ill}})
    fail_first(router, 5)
    before = router.status()["a"].cooldown_remaining
    router.probe("a")
    assert router.status()["a"].cooldown_remaining == before


def test_probes_are_no_requests(pool: Callable[..., Router]) -> None:
    router = pool("a", policy={"probe": {"check": well}})
    assert router.status()["a"].health == "unknown"
    router.probe()
    target = router.status()["a"]
    assert (target.requests, target.in_flight, target.last_success) == (0, 0, None)
    assert (target.health, target.last_check is None) == ("healthy", False)


# When


def prober_of(router: Router) -> Prober:
    return router._prober


def first_probe(seed: int) -> float:
    clock = FakeClock()
    router = Router([Target("x", probe=well)], clock=clock, dice=random.Random(seed))
    return prober_of(router).send_due(clock.now())


def test_a_thousand_processes_that_start_together_do_not_probe_together() -> None:
    firsts = [first_probe(seed) for seed in range(1_000)]
    assert min(firsts) >= 0
    assert max(firsts) <= 60
    for start in range(0, 60, 10):
        assert 120 < sum(start <= first < start + 10 for first in firsts) < 220


def test_after_the_first_a_probe_comes_every_interval_and_up_to_a_fifth(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    times = []
    policy = {"probe": {"check": lambda _: times.append(fake_clock.now()), "interval": 600}}
    router = pool("a", policy=policy)
    prober = prober_of(router)
    prober.close()
    for _ in range(60):
        fake_clock.advance(prober.send_due(fake_clock.now()))
        prober.send_due(fake_clock.now())
        settled(router)
    gaps = [later - first for first, later in pairwise(times)]
    assert min(gaps) >= 600
    assert max(gaps) <= 720
    assert len({round(gap) for gap in gaps}) > 20


def test_a_policy_with_probes_sends_them_without_being_asked() -> None:
    probed = threading.Event()
    policy = {"probe": {"check": lambda _: probed.set(), "interval": 0.02, "timeout": 0.01}}
    with Router(["x"], policy=policy):
        assert probed.wait(10)


def test_a_policy_without_probes_starts_no_thread(pool: Callable[..., Router]) -> None:
    before = threading.active_count()
    pool("a", "b")
    assert threading.active_count() == before


def probing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "failover-probes"]


def gone(thread: threading.Thread) -> bool:
    thread.join(10)
    return not thread.is_alive()


def test_closing_a_router_ends_its_probes() -> None:
    before = probing_threads()
    router = Router(["x"], policy={"probe": {"check": well}})
    (thread,) = set(probing_threads()) - set(before)
    assert thread.daemon
    router.close()
    assert gone(thread)


def test_a_router_that_is_forgotten_ends_its_probes() -> None:
    before = probing_threads()
    router = Router(["x"], policy={"probe": {"check": well}})
    (thread,) = set(probing_threads()) - set(before)
    reference = weakref.ref(router)
    del router
    gc.collect()
    assert reference() is None
    assert gone(thread)


def test_a_probe_that_may_take_longer_than_its_interval_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"timeout \(9.0 s\) is above interval \(5.0 s\)"):
        FailoverPolicy.model_validate({"probe": {"interval": 5, "timeout": 9}})


def test_a_probe_that_is_no_function_is_refused() -> None:
    no_function: Any = "http://a/health"
    with pytest.raises(
        ConfigurationError, match=r"Target 'a': probe is .* a function of the client"
    ):
        Target("x", name="a", probe=no_function)
