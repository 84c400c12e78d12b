"""What a call needs of its target, and which one it would like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from failover_core import (
    AllTargetsFailedError,
    ConfigurationError,
    ErrorClass,
    ResponseStatusError,
    Router,
    Target,
    UnsupportedError,
)
from failover_core.engine.drivers import run
from failover_core.testing import ScriptedClient
from tests.engine.doors import REFUSED, Door, ask, status, trace


def target(name: str, *script: Any, **settings: Any) -> Target:
    return Target(ScriptedClient(name, script, default=name), name=name, **settings)


def test_a_target_that_lacks_a_capability_is_passed_over_without_a_mark(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(target("text", supports=["tools"]), target("all"))
    assert door(router, ask, requires=["images"]) == "all"
    assert door(router, ask, requires=["tools"]) == "text"
    assert door(router, ask) == "text"
    assert trace(router) == []
    assert router.status()["text"].failures == 0
    assert router.status().failed_over == 0


def test_when_no_target_has_a_capability_the_error_says_which(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(target("a", supports=["tools"]), target("b", supports=[]))
    with pytest.raises(AllTargetsFailedError, match="a does not support images") as caught:
        door(router, ask, requires="images")
    assert "b does not support images" in str(caught.value)
    assert caught.value.error_class is ErrorClass.UNSUPPORTED


def test_a_target_that_says_it_cannot_take_the_call_is_passed_over_without_a_mark(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(ScriptedClient("a", default=UnsupportedError("takes no tools")), "b")
    for _ in range(20):
        assert door(router, ask) == "b"
    assert router.status()["a"].failures == 0
    assert router.status()["a"].state == "closed"
    assert trace(router)[:2] == ["attempt_failed a unsupported", "failed_over a->b unsupported"]


def test_a_pool_whose_targets_all_lack_something_is_not_blamed_by_the_pool_around_it(
    door: Door, pool: Callable[..., Router]
) -> None:
    inner = Router([target("x", supports=[])])
    outer = Router([Target(inner, name="inner"), target("b")])

    def send(client: Any) -> Any:
        return client.run(ask, requires=["images"]) if client is inner else ask(client)

    assert outer.run(send) == "b"
    assert outer.status()["inner"].failures == 0


def test_a_call_that_no_enabled_target_may_take_names_the_disabled_ones_too(
    pool: Callable[..., Router],
) -> None:
    router = pool(target("a", supports=[]), target("b"))
    router.disable("b")
    with pytest.raises(AllTargetsFailedError, match=r"a does not support images.*disabled.*b"):
        router.run(ask, requires=["images"])


def test_nobody_is_taken_to_support_prefill_who_does_not_say_so(
    pool: Callable[..., Router],
) -> None:
    router = pool(target("unknown"), target("able", supports={"prefill"}))
    assert router.run(ask, requires=["prefill"]) == "able"


@pytest.mark.parametrize("wrong", [["vision"], "tool"])
def test_an_unknown_capability_is_refused_with_the_known_ones(
    pool: Callable[..., Router], wrong: Any
) -> None:
    with pytest.raises(ConfigurationError, match=r"requires: .* known: tools"):
        pool("a").run(ask, requires=wrong)
    with pytest.raises(ConfigurationError, match=r"Target 'a': supports: .* known: tools"):
        target("a", supports=wrong)


def test_a_call_goes_to_a_target_with_room_for_its_tokens(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(
        target("small", context_window=1_000),
        target("large", context_window=9_000),
        target("unknown"),
    )
    assert door(router, ask, tokens=800) == "small"
    assert door(router, ask, tokens=8_000) == "large"
    assert door(router, ask, tokens=80_000) == "unknown"


def test_an_estimate_that_no_target_has_room_for_is_left_to_the_servers(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(
        target("small", status(413), context_window=1_000), target("large", context_window=9_000)
    )
    assert door(router, ask, tokens=10_000) == "large"


def test_a_negative_number_of_tokens_is_refused(pool: Callable[..., Router]) -> None:
    with pytest.raises(ConfigurationError, match="tokens is -1"):
        pool("a").run(ask, tokens=-1)


def test_a_preferred_target_is_tried_first(door: Door, pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c")
    assert door(router, ask, preferred_target="c") == "c"
    assert door(router, ask) == "a"


def test_a_preferred_target_comes_before_a_manual_switch(pool: Callable[..., Router]) -> None:
    router = pool("a", "b", "c")
    router.switch("b")
    assert [router.run(ask, preferred_target="c"), router.run(ask)] == ["c", "b"]


def test_a_preferred_target_that_fails_is_failed_over_from(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool("a", target("b", status(500)))
    assert door(router, ask, preferred_target="b") == "a"
    assert trace(router) == ["attempt_failed b server_error", "failed_over b->a server_error"]


def test_an_unknown_preferred_target_is_refused_with_the_known_ones(
    door: Door, pool: Callable[..., Router]
) -> None:
    with pytest.raises(ConfigurationError, match="there is no target 'z'; it has a, b"):
        door(pool("a", "b"), ask, preferred_target="z")


def test_a_call_meant_for_some_targets_goes_to_no_other(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(target("a"), target("b", REFUSED), target("c"), target("d"))
    assert door(router, ask, among=["b", "c"]) == "c"
    assert trace(router) == ["attempt_failed b connection", "failed_over b->c connection"]
    assert door(router, ask, among=["d"], preferred_target="a") == "d"
    assert router.status()["a"].requests == 0
    assert router.status().failed_over == 1


def test_when_none_of_those_can_serve_only_they_are_named(
    door: Door, pool: Callable[..., Router]
) -> None:
    router = pool(target("a"), target("b"), ScriptedClient("c", default=REFUSED))
    router.disable("b")
    with pytest.raises(AllTargetsFailedError) as caught:
        door(router, ask, among=["c"])
    assert [str(error) for error in caught.value.exceptions] == [str(REFUSED)]
    with pytest.raises(AllTargetsFailedError, match="every target failed; disabled") as caught:
        door(router, ask, among=["b"])
    assert caught.value.error_class is None


def test_a_call_may_be_over_at_another_instant_than_the_policys(
    pool: Callable[..., Router],
) -> None:
    router = pool(target("a"), policy={"total_timeout": 10})
    first = router.begin()
    later = router.begin(deadline=first.deadline)
    assert later.deadline == first.deadline
    with pytest.raises(AllTargetsFailedError, match="its total_timeout is over"):
        router.run(ask, deadline=later.clock.now() - 1)


def test_a_substitute_for_an_answer_is_told_and_counted(pool: Callable[..., Router]) -> None:
    router = pool(ScriptedClient("a", default=REFUSED))
    call = router.begin()
    with pytest.raises(AllTargetsFailedError):
        run(call, lambda attempt: attempt.client.call())
    assert call.is_exhausted
    call.degraded()
    assert [event.kind for event in router.events][-2:] == ["exhausted", "degraded"]
    assert {event.call_id for event in list(router.events)[-2:]} == {call.id}
    assert router.status().degraded == 1
    router.reset()
    assert router.status().degraded == 0


def test_a_call_that_ends_with_an_error_about_the_request_is_not_exhausted(
    pool: Callable[..., Router],
) -> None:
    router = pool(ScriptedClient("a", default=status(422)), "b")
    call = router.begin()
    with pytest.raises(ResponseStatusError):
        run(call, lambda attempt: attempt.client.call())
    assert not call.is_exhausted
