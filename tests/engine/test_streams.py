"""Streams: what is held back, when a call is committed, and how a stream may end."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, Router
from failover_core.engine.call import Call
from failover_core.engine.drivers import astream, stream
from failover_core.testing import ScriptedClient
from tests.engine.doors import REFUSED, fail_first, named, trace

Collect = Callable[..., list[Any]]


@pytest.fixture(params=["stream", "astream"])
def collect(request: pytest.FixtureRequest) -> Collect:
    """Return all chunks of a stream, sync or async."""

    async def acollect(router: Router, **options: Any) -> list[Any]:
        return [chunk async for chunk in router.astream(lambda c: c.astream(), **options)]

    def collected(router: Router, **options: Any) -> list[Any]:
        if request.param == "stream":
            return list(router.stream(lambda client: client.stream(), **options))
        return asyncio.run(acollect(router, **options))

    return collected


@pytest.fixture(params=[{}, {"total_timeout": 60}], ids=["untimed", "timed"])
def policy(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return a policy with or without limits: sync streams then run in another thread."""
    limits: dict[str, Any] = request.param
    return limits


def is_text(chunk: str) -> bool:
    return bool(chunk)


def test_a_stream_that_breaks_before_content_fails_over_and_shows_nothing_of_it(
    collect: Collect, policy: dict[str, Any]
) -> None:
    a = ScriptedClient("a", [["", "", REFUSED]])
    router = Router([a, ScriptedClient("b", default=["", "b", "", "c"])], policy=policy)
    assert collect(router, is_content=is_text) == ["", "b", "", "c"]
    assert trace(router) == ["attempt_failed a connection", "failed_over a->b connection"]


def test_a_stream_that_breaks_after_content_raises_its_own_error_and_is_marked(
    collect: Collect, policy: dict[str, Any]
) -> None:
    a = ScriptedClient("a", [["x", REFUSED]])
    router = Router([a, ScriptedClient("b", default=["b"])], policy=policy)
    with pytest.raises(ConnectionRefusedError) as caught:
        collect(router)
    assert caught.value is REFUSED
    status = router.status()
    assert (status["a"].failures, status["b"].requests, status.failed) == (1, 0, 1)


@pytest.mark.parametrize("chunks", [[], ["", ""]])
def test_an_empty_answer_is_an_answer(
    chunks: list[str], collect: Collect, policy: dict[str, Any]
) -> None:
    a = ScriptedClient("a", default=chunks)
    router = Router([a, ScriptedClient("b", default=["b"])], policy=policy)
    assert collect(router, is_content=is_text) == chunks
    assert (router.status().succeeded, router.status()["b"].requests) == (1, 0)


def test_a_stream_that_never_opens_fails_over(collect: Collect, policy: dict[str, Any]) -> None:
    a = ScriptedClient("a", default=REFUSED)
    router = Router([a, ScriptedClient("b", default=["b"])], policy=policy)
    assert collect(router) == ["b"]


def test_a_source_that_is_no_stream_fails_over_too() -> None:
    router = Router([ScriptedClient("a", default=1), ScriptedClient("b", default=["b"])])
    assert list(router.stream(lambda client: client.call())) == ["b"]


def test_the_latency_of_a_stream_is_that_of_its_first_content(
    pool: Callable[..., Router], fake_clock: Any
) -> None:
    def source(_: Any) -> Iterator[str]:
        for chunk in ["", "x", "y"]:
            fake_clock.advance(1)
            yield chunk

    router = pool("a")
    list(router.stream(source, is_content=is_text))
    latency = router.status()["a"].latency
    assert latency is not None
    assert latency.mean == 2


class Source:
    """A stream that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[str]:
        while True:
            yield "x"

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            yield "x"

    def close(self) -> None:
        self.closed.set()


def test_closing_early_closes_the_source_and_is_nobodys_failure(policy: dict[str, Any]) -> None:
    router, source = Router(named("a"), policy=policy), Source()
    stream = router.stream(lambda _: source)
    assert next(stream) == "x"
    assert router.status()["a"].in_flight == 1
    stream.close()  # type: ignore[attr-defined]
    assert source.closed.wait(5)
    status = router.status()
    assert (status["a"].in_flight, status["a"].failures, status.failed) == (0, 0, 0)
    assert not trace(router)


async def test_closing_early_closes_an_async_source_too(policy: dict[str, Any]) -> None:
    router, source = Router(named("a"), policy=policy), Source()
    stream = router.astream(lambda _: source)
    assert await anext(stream) == "x"
    await stream.aclose()  # type: ignore[attr-defined]
    assert source.closed.is_set()
    status = router.status()
    assert (status["a"].in_flight, status["a"].failures, status.failed) == (0, 0, 0)


def test_an_abandoned_stream_gives_its_permit_back_when_it_is_collected(
    policy: dict[str, Any],
) -> None:
    router, source = Router(named("a"), policy=policy), Source()
    stream = router.stream(lambda _: source)
    next(stream)
    del stream
    gc.collect()
    assert source.closed.wait(5)
    assert router.status()["a"].in_flight == 0


async def test_an_abandoned_async_stream_gives_its_permit_back_too(policy: dict[str, Any]) -> None:
    router = Router(named("a"), policy=policy)
    stream = router.astream(lambda _: Source())
    await anext(stream)
    del stream
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)
    assert router.status()["a"].in_flight == 0


def test_a_stream_may_be_collected_while_its_thread_holds_the_lock() -> None:
    router = Router(named("a"))

    def collect_under_lock() -> None:
        cycle: list[Any] = [router.stream(lambda _: Source())]
        next(cycle[0])
        cycle.append(cycle)
        del cycle
        with router._pool.lock:
            gc.collect()

    thread = threading.Thread(target=collect_under_lock, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert router.status()["a"].in_flight == 0


def test_an_error_of_the_consumer_is_no_failure_of_the_target(policy: dict[str, Any]) -> None:
    router = Router(named("a"), policy=policy)

    def consume() -> None:
        for _ in router.stream(lambda _: Source()):
            message = "the consumer's own"
            raise ValueError(message)

    for _ in range(10):
        with pytest.raises(ValueError, match="own"):
            consume()
    gc.collect()
    found = router.status()["a"]
    assert (found.failures, found.state, found.in_flight) == (0, "closed", 0)


def test_a_probe_closed_early_lets_the_next_call_probe(
    pool: Callable[..., Router], fake_clock: Any
) -> None:
    router = pool("a", "b")
    fail_first(router, 5)
    fake_clock.advance(5)
    for _ in range(3):
        stream = router.stream(lambda client: iter([client.name] * 2))
        assert next(stream) == "a"
        stream.close()  # type: ignore[attr-defined]
    assert router.status()["a"].state == "half_open"


def test_a_source_that_refuses_to_be_closed_harms_nobody(policy: dict[str, Any]) -> None:
    class Stubborn(Source):
        def close(self) -> None:
            raise OSError

    router = Router(named("a"), policy=policy)
    stream = router.stream(lambda _: Stubborn())
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert router.status()["a"].in_flight == 0


async def test_a_source_whose_closing_hangs_holds_a_call_up_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("failover_core.engine.sending._CLOSING", 0.05)

    class Hanging:
        def __aiter__(self) -> Hanging:
            return self

        async def __anext__(self) -> str:
            raise REFUSED

        async def aclose(self) -> None:
            await asyncio.sleep(60)

    router = Router([Hanging(), ScriptedClient("b", default=["b"])])
    async with asyncio.timeout(10):
        assert [
            chunk
            async for chunk in router.astream(
                lambda client: client if isinstance(client, Hanging) else client.astream()
            )
        ] == ["b"]


async def test_an_awaitable_of_a_stream_serves_as_well() -> None:
    async def create(client: ScriptedClient) -> AsyncIterator[str]:
        if client.name == "a":
            raise REFUSED
        return client.astream()

    router = Router([ScriptedClient("a"), ScriptedClient("b", default=["b"])])
    assert [chunk async for chunk in router.astream(create)] == ["b"]


def test_all_streams_dead_is_an_error_with_one_member_each(collect: Collect) -> None:
    router = Router([ScriptedClient(name, default=REFUSED) for name in "abc"])
    with pytest.raises(AllTargetsFailedError) as caught:
        collect(router)
    assert len(caught.value.exceptions) == 3


class Framed:
    """An outlet that shows what passes it, and says at the end who served."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def on(self, chunk: str, /) -> str:
        return f"<{chunk}>"

    def end(self) -> list[str]:
        return [self.call.report["target"]]


@pytest.mark.parametrize(
    ("chunks", "shown"),
    [
        (["", "x", "y"], ["<>", "<x>", "<y>", "b"]),
        (["", ""], ["<>", "<>", "b"]),
        (["x", REFUSED], ["<x>"]),
    ],
    ids=["content", "none", "broken"],
)
@pytest.mark.parametrize("door", ["stream", "astream"])
async def test_what_a_caller_gets_of_a_stream_passes_its_outlet(
    door: str, chunks: list[Any], shown: list[str]
) -> None:
    clients = [ScriptedClient("a", [["", REFUSED]]), ScriptedClient("b", default=chunks)]
    call, seen = Router(clients).begin(), list[str]()
    try:
        if door == "stream":
            source = stream(call, lambda one: one.client.stream(), is_text, None, Framed(call))
            seen.extend(source)
        else:
            async for chunk in astream(
                call, lambda one: one.client.astream(), is_text, None, Framed(call)
            ):
                seen.append(chunk)
    except ConnectionRefusedError:
        assert REFUSED in chunks
    assert seen == shown
