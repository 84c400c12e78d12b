"""In which order calls consider the targets."""

from __future__ import annotations

import copy
import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import pytest

from failover_core import (
    ConfigurationError,
    Price,
    Router,
    Sticky,
    Strategy,
    Target,
    register_strategy,
)
from failover_core.engine import strategies
from failover_core.engine.strategies import strategy_for
from failover_core.engine.target_state import TargetState
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, begin, fail_first, status

NAMES = [
    "priority",
    "sticky",
    "round_robin",
    "weighted",
    "least_loaded",
    "fastest",
    "cheapest",
    "random",
]
SPREADING = ["round_robin", "weighted", "least_loaded", "random"]


def served(router: Router, calls: int) -> Counter[str]:
    return Counter(router.run(ask) for _ in range(calls))


def target(name: str, **settings: Any) -> Target:
    return Target(ScriptedClient(name, default=name), name=name, **settings)


class Slow:
    """Answers after its own time of the clock."""

    def __init__(self, name: str, clock: FakeClock, seconds: float) -> None:
        self.name, self.clock, self.seconds = name, clock, seconds

    def call(self) -> str:
        self.clock.advance(self.seconds)
        return self.name


# All of them


@pytest.mark.parametrize("strategy", NAMES)
def test_every_target_is_tried_once_before_a_call_fails(
    pool: Callable[..., Router], strategy: str
) -> None:
    clients = [ScriptedClient(name, default=REFUSED) for name in "abcdef"]
    router = pool(*clients, strategy=strategy)
    for number in range(1, 30):
        with pytest.raises(ExceptionGroup):
            router.run(ask)
        assert [len(client.calls) for client in clients] == [number] * 6


@pytest.mark.parametrize("strategy", NAMES)
def test_looking_moves_nothing(pool: Callable[..., Router], strategy: str) -> None:
    watched, unwatched = (pool("a", "b", "c", strategy=strategy) for _ in range(2))
    answers: list[list[str]] = [[], []]
    for _ in range(100):
        for _ in range(3):
            watched.status()
        answers[0].append(watched.run(ask))
        answers[1].append(unwatched.run(ask))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("strategy", NAMES)
def test_looking_past_a_manual_switch_moves_nothing_either(strategy: str) -> None:
    dice = random.Random(7)
    router = Router([target(name) for name in "abc"], strategy=strategy, dice=dice)
    router.switch("b")
    before = dice.getstate()
    for _ in range(4):
        router.status()
    router.reset()
    assert dice.getstate() == before
    if strategy == "round_robin":
        assert [router.run(ask) for _ in range(3)] == [*"abc"]


class Counted(Sequence[TargetState]):
    """Targets that count how often one of them is looked at."""

    def __init__(self, states: Sequence[TargetState]) -> None:
        self.states, self.looks = states, 0

    def __len__(self) -> int:
        return len(self.states)

    @overload
    def __getitem__(self, place: int) -> TargetState: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[TargetState]: ...
    def __getitem__(self, place: int | slice) -> TargetState | Sequence[TargetState]:
        self.looks += len(self.states[place]) if isinstance(place, slice) else 1
        return self.states[place]

    def __iter__(self) -> Iterator[TargetState]:
        for state in self.states:
            self.looks += 1
            yield state


@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("name", ["priority", *SPREADING, "fastest", "cheapest"])
def test_the_first_choice_among_a_thousand_costs_what_it_costs_among_ten(
    name: str, *, measured: bool
) -> None:
    looks = []
    for number in (10, 1_000):
        router = Router([Target(object()) for _ in range(number)])
        states = Counted(router._pool.states)
        for state in router._pool.states if measured else ():
            state.cost.observe(0.1, 0.0)
        strategy = strategy_for(name, random.Random(1))
        for _ in range(1_000):
            next(iter(strategy.order(states, 0.0)))
        looks.append(states.looks / 1_000)
    assert looks[1] <= looks[0] + 11  # ranking a thousand, spread over the calls between two


@pytest.mark.parametrize("strategy", NAMES)
def test_a_router_copies_and_pickles_with_its_strategy(strategy: str) -> None:
    router = Router([Target("x", name="a"), Target("y", name="b")], strategy=strategy)
    unpickled = pickle.loads(pickle.dumps(router))  # noqa: S301 - our own bytes
    for copied in (copy.deepcopy(router), unpickled):
        assert type(copied._pool.strategy) is type(router._pool.strategy)
        assert copied._pool.strategy is not router._pool.strategy


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301 - our own bytes
def test_a_copied_sticky_begins_at_the_first_target_with_its_own_settings(
    fake_clock: FakeClock, copied: Callable[[Router], Router]
) -> None:
    sticky = Sticky(seconds=30, successes=3)
    router = Router([Target("x", name="a"), Target("y", name="b")], strategy=sticky)
    router.disable("a")
    assert router.run(str) == "y"
    router.enable("a")
    again = copied(router)
    assert [again.run(str) for _ in range(2)] == ["x", "x"]
    again.disable("a")
    assert again.run(str) == "y"
    again.enable("a")
    assert [again.run(str) for _ in range(3)] == ["y", "y", "x"]


# Changing, and users' own


def test_a_strategy_changes_at_run_time_and_the_switch_is_told(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(target("dear", price=(9, 9)), target("cheap", price=(1, 1)))
    assert door(router, ask) == "dear"
    router.set_strategy("cheapest")
    assert door(router, ask) == "cheap"
    assert router.status().active == "cheap"
    assert [(event.kind, event.reason) for event in router.events] == [("switched", "strategy")]


def test_an_unknown_strategy_is_refused_at_run_time_too(pool: Callable[..., Router]) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'round_robin'"):
        pool("a").set_strategy("roundrobin")


def test_a_function_orders_the_targets(door: Door, pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c", strategy=reversed)
    assert door(router, ask) == "c"


def test_what_a_strategy_leaves_out_comes_last(pool: Callable[..., Router]) -> None:
    router = pool("a", ScriptedClient("b", default=REFUSED), strategy=lambda states: [states[1]])
    assert router.run(ask) == "a"


class ByName(Strategy):
    def order(self, targets: Sequence[TargetState], now: float) -> Iterable[TargetState]:
        return sorted(targets, key=lambda state: str(state.target.name))


def test_users_register_their_own(pool: Callable[..., Router]) -> None:
    register_strategy("by_name", lambda _: ByName())
    assert pool("z", "b", "m", strategy="by_name").run(ask) == "b"
    assert pool("z", "b", "m", strategy=ByName()).run(ask) == "b"


def test_a_class_is_refused_where_an_object_of_it_is_needed(pool: Callable[..., Router]) -> None:
    with pytest.raises(ConfigurationError, match=r"ByName is a class; give an object of it"):
        pool("a", strategy=ByName)


@pytest.mark.parametrize(("name", "factory"), [("", lambda _: ByName()), ("mine", None)])
def test_what_cannot_be_registered_is_refused_at_once(name: str, factory: Any) -> None:
    with pytest.raises(ConfigurationError, match="register_strategy"):
        register_strategy(name, factory)


def test_a_factory_that_makes_no_strategy_is_refused_when_the_pool_is_built(
    pool: Callable[..., Router], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(strategies._STRATEGIES, "made_of_nothing", lambda _: None)
    with pytest.raises(ConfigurationError, match="'made_of_nothing' made None"):
        pool("a", strategy="made_of_nothing")


# Sticky


@pytest.fixture
def sticky(pool: Callable[..., Router]) -> Router:
    return pool("a", "b", "c", strategy="sticky", policy={"breaker": {"slow_start": 0}})


def leave(router: Router, clock: FakeClock) -> None:
    """Let the first target fail until it is ejected, and its cooldown pass."""
    fail_first(router, 5)
    clock.advance(5)


def test_sticky_begins_at_the_first_target(sticky: Router, fake_clock: FakeClock) -> None:
    fake_clock.advance(10_000)
    assert served(sticky, 60) == {"a": 60}


def test_sticky_stays_where_it_was_served(sticky: Router, fake_clock: FakeClock) -> None:
    fail_first(sticky, 1)
    assert served(sticky, 20) == {"b": 20}
    assert sticky.status().active == "b"


def test_sticky_steps_back_after_fifty_successes(sticky: Router) -> None:
    fail_first(sticky, 1)
    assert served(sticky, 49) == {"b": 49}
    assert served(sticky, 5) == {"a": 5}


def test_sticky_steps_back_after_600_seconds(sticky: Router, fake_clock: FakeClock) -> None:
    fail_first(sticky, 1)
    fake_clock.advance(599.9)
    assert sticky.run(ask) == "b"
    fake_clock.advance(0.1)
    assert sticky.run(ask) == "a"


def test_sticky_steps_back_only_when_a_call_is_about_to_be_sent(
    sticky: Router, fake_clock: FakeClock
) -> None:
    fail_first(sticky, 1)
    fake_clock.advance(9_999)
    assert [sticky.status().active for _ in range(3)] == ["b"] * 3
    sticky.run(ask)
    assert sticky.status().active == "a"


def test_sticky_steps_back_one_place_at_a_time(sticky: Router, fake_clock: FakeClock) -> None:
    sticky.disable("a")
    sticky.disable("b")
    assert sticky.run(ask) == "c"
    sticky.enable("a")
    sticky.enable("b")
    for name in "cba":
        assert sticky.run(ask) == name
        fake_clock.advance(600)


def test_sticky_stays_when_the_step_back_fails(sticky: Router, fake_clock: FakeClock) -> None:
    fail_first(sticky, 1)
    fake_clock.advance(600)
    fail_first(sticky, 1)
    assert sticky.status().active == "b"
    fake_clock.advance(599)
    assert sticky.run(ask) == "b"
    fake_clock.advance(1)
    assert sticky.run(ask) == "a"


def test_sticky_does_not_send_its_step_back_to_an_ejected_target(
    sticky: Router, fake_clock: FakeClock
) -> None:
    sticky.run(lambda client: _refuse(client, status(401)))  # ejected for 300 s
    fake_clock.advance(10)
    before = sticky.status()["a"].requests
    assert served(sticky, 120) == {"b": 120}
    assert sticky.status()["a"].requests == before


def _refuse(client: Any, error: Exception) -> Any:
    if client.name == "a":
        raise error
    return client.call()


def test_a_late_success_does_not_flip_sticky_back(sticky: Router, fake_clock: FakeClock) -> None:
    late, attempt = begin(sticky)
    fake_clock.advance(1)
    fail_first(sticky, 1)
    late.succeeded(attempt)
    assert sticky.run(ask) == "b"


@pytest.mark.parametrize("setting", ["seconds", "successes"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "600", None])
def test_sticky_refuses_what_is_not_above_zero(setting: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"Sticky: {setting} is {value!r}"):
        Sticky(**{setting: value})


def test_sticky_takes_other_numbers(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", strategy=Sticky(successes=3))
    fail_first(router, 1)
    assert [router.run(ask) for _ in range(3)] == ["b", "b", "a"]


# Spreading


def test_round_robin_takes_turns(door: Door, pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c", strategy="round_robin")
    assert [door(router, ask) for _ in range(6)] == [*"abcabc"]


@pytest.mark.parametrize("strategy", ["round_robin", "random", "weighted", "least_loaded"])
def test_spreading_gives_equal_targets_equal_shares(
    pool: Callable[..., Router], strategy: str
) -> None:
    counts = served(pool(*"abcd", strategy=strategy), 4_000)
    assert all(900 < counts[name] < 1_100 for name in "abcd")


@pytest.mark.parametrize("strategy", SPREADING)
def test_the_calls_of_a_dead_target_are_spread_over_all_others(
    pool: Callable[..., Router], strategy: str
) -> None:
    clients = [ScriptedClient("dead", default=status(401)), *"bcde"]
    counts = served(pool(*clients, strategy=strategy), 4_000)
    assert all(850 < counts[name] < 1_150 for name in "bcde")


def test_failed_calls_of_a_round_robin_do_not_all_go_to_the_next_in_turn(
    pool: Callable[..., Router],
) -> None:
    policy = {"breaker": {"consecutive_failures": 10**6, "minimum_calls": 10**6}}
    dead = ScriptedClient("dead", default=REFUSED)
    counts = served(pool(dead, *"bcde", strategy="round_robin", policy=policy), 4_000)
    assert all(900 < counts[name] < 1_100 for name in "bcde")


def test_weights_are_shares(pool: Callable[..., Router]) -> None:
    targets = [target("a", weight=1), target("b", weight=2), target("c", weight=5)]
    counts = served(pool(*targets, strategy="weighted"), 8_000)
    assert [round(counts[name] / 1_000) for name in "abc"] == [1, 2, 5]


def test_when_a_heavy_target_is_gone_the_others_keep_their_shares(
    pool: Callable[..., Router],
) -> None:
    router = pool(
        target("a", weight=1), target("b", weight=3), target("c", weight=9), strategy="weighted"
    )
    router.disable("c")
    counts = served(router, 4_000)
    assert 2.6 < counts["b"] / counts["a"] < 3.4


def test_a_pool_that_spreads_has_no_active_target(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", strategy="round_robin")
    assert router.status().active is None
    router.switch("b")
    assert router.status().active == "b"
    assert served(router, 5) == {"b": 5}


# By what they measured


def test_least_loaded_prefers_the_quick_and_still_uses_the_slow(
    fake_clock: FakeClock,
) -> None:
    clients = [Slow("quick", fake_clock, 0.01), Slow("slow", fake_clock, 0.5)]
    router = Router(clients, strategy="least_loaded", clock=fake_clock, dice=random.Random(1))
    counts = Counter(router.run(Slow.call) for _ in range(4_000))
    assert 0 < counts["slow"] < 200


def test_least_loaded_counts_what_is_under_way(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", strategy="least_loaded")
    served(router, 20)
    _, attempt = begin(router)
    _, other = begin(router)
    assert {attempt.target.name, other.target.name} == {"a", "b"}


def test_of_a_crowd_only_one_finds_out_how_slow_a_new_target_is(
    pool: Callable[..., Router],
) -> None:
    router = pool("a", "new", strategy="least_loaded")
    while router.status()["a"].latency is None:
        router.run(ask, preferred_target="a")
    crowd = [begin(router)[1].target.name for _ in range(50)]
    assert crowd.count("new") == 1


def test_a_target_that_was_slow_once_gets_another_chance(fake_clock: FakeClock) -> None:
    changing = Slow("changing", fake_clock, 5)
    clients = [changing, Slow("steady", fake_clock, 0.1)]
    router = Router(clients, strategy="least_loaded", clock=fake_clock, dice=random.Random(1))
    Counter(router.run(Slow.call) for _ in range(100))
    changing.seconds = 0.01
    counts = Counter(router.run(Slow.call) for _ in range(2_000))
    assert counts["changing"] > 1_500


def test_fastest_finds_the_fastest_and_looks_around_now_and_then(fake_clock: FakeClock) -> None:
    seconds = {"slow": 0.5, "quick": 0.01, "middle": 0.1}
    clients = [Slow(name, fake_clock, time) for name, time in seconds.items()]
    router = Router(clients, strategy="fastest", clock=fake_clock, dice=random.Random(1))
    counts = Counter(router.run(Slow.call) for _ in range(1_000))
    assert counts["quick"] > 900
    assert counts["slow"] > 10
    assert router.status().active == "quick"


def test_fastest_ranks_a_slow_target_before_one_that_nobody_knows(
    pool: Callable[..., Router],
) -> None:
    router = pool("a", "unknown", strategy="fastest")
    assert served(router, 19) == {"a": 19}
    assert router.run(ask) == "unknown"


def test_fastest_gets_to_know_a_target_behind_one_that_cannot_serve(
    pool: Callable[..., Router],
) -> None:
    router = pool("a", "out", "new", strategy="fastest")
    router.disable("out")
    assert served(router, 20) == {"a": 19, "new": 1}


def test_fastest_looks_around_at_one_call_in_twenty(fake_clock: FakeClock) -> None:
    clients = [Slow("quick", fake_clock, 0.01), Slow("slow", fake_clock, 0.5)]
    router = Router(clients, strategy="fastest", clock=fake_clock, dice=random.Random(1))
    assert Counter(router.run(Slow.call) for _ in range(1_000)) == {"quick": 950, "slow": 50}


def test_fast_failures_do_not_look_like_a_fast_target(fake_clock: FakeClock) -> None:
    failing = ScriptedClient("failing", default=status(429, retry_after="0"))
    router = Router(
        [failing, Slow("slow", fake_clock, 0.3)],
        strategy="fastest",
        clock=fake_clock,
        dice=random.Random(1),
    )
    for _ in range(200):
        assert router.run(ask) == "slow"
    assert len(failing.calls) <= 30


def test_cheapest_goes_by_price_and_free_comes_first(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(
        target("dear", price=Price(3, 15)),
        target("cheap", price=Price(0.1, 0.4)),
        target("own"),
        strategy="cheapest",
    )
    assert door(router, ask) == "own"
    router.disable("own")
    assert door(router, ask) == "cheap"


# The panic threshold


def outage(router: Router, dead: int, error: Exception) -> None:
    """Let the first so many targets fail until they are ejected."""

    def behave(client: Any) -> Any:
        if client.name in {target.name for target in router.targets[:dead]}:
            raise error
        return client.call()

    while sum(target.state != "closed" for target in router.status().targets) < dead:
        router.run(behave)


@pytest.mark.parametrize("error", [status(500), status(503)])
def test_with_few_targets_left_calls_are_spread_over_the_overloaded_too(
    pool: Callable[..., Router], error: Exception
) -> None:
    router = pool(*"abcdef", strategy="round_robin")
    outage(router, 4, error)
    counts = served(router, 12)
    assert len(counts) == 6


def test_with_half_of_the_targets_left_the_ejected_stay_out(pool: Callable[..., Router]) -> None:
    router = pool(*"abcdef", strategy="round_robin")
    outage(router, 3, status(503))
    assert set(served(router, 30)) == set("def")


@pytest.mark.parametrize("error", [REFUSED, TimeoutError("silent"), status(401)])
def test_targets_that_are_down_stay_out_however_few_are_left(
    pool: Callable[..., Router], error: Exception
) -> None:
    router = pool(*"abcdef", strategy="round_robin")
    outage(router, 5, error)
    assert served(router, 30) == {"f": 30}


def test_a_pool_that_sheds_load_knows_no_panic(pool: Callable[..., Router]) -> None:
    router = pool(*"abcdef", strategy="round_robin", policy={"adaptive_throttle": True})
    outage(router, 5, status(503))
    assert served(router, 30) == {"f": 30}


def test_an_ordered_pool_knows_no_panic(pool: Callable[..., Router]) -> None:
    router = pool(*"abcdef")
    outage(router, 5, status(503))
    assert served(router, 30) == {"f": 30}


def test_a_panic_threshold_of_zero_turns_it_off(pool: Callable[..., Router]) -> None:
    policy = {"breaker": {"panic_threshold": 0}}
    router = pool(*"abcdef", strategy="round_robin", policy=policy)
    outage(router, 5, status(503))
    assert served(router, 30) == {"f": 30}
