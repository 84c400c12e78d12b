"""Time limits of streams, in real time and small."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from failover_core import AllTargetsFailedError, AttemptTimeoutError, Router
from failover_core.testing import FakeClock, ScriptedClient

GRACE = 1.0
"""Seconds past a deadline that a machine under load may take; the silent clients take 5."""


class Paced:
    """A client whose chunks come after given pauses, the last one again and again."""

    def __init__(self, name: str, *pauses: float, endless: bool = False) -> None:
        self.name = name
        self._pauses = pauses
        self._endless = endless

    def _times(self) -> Iterator[float]:
        tail = itertools.repeat(self._pauses[-1]) if self._endless else ()
        return itertools.chain(self._pauses, tail)

    def stream(self) -> Iterator[str]:
        for pause in self._times():
            time.sleep(pause)
            yield self.name

    async def astream(self) -> AsyncIterator[str]:
        for pause in self._times():
            await asyncio.sleep(pause)
            yield self.name


Drain = Callable[..., tuple[list[str], BaseException | None, float]]


@pytest.fixture(params=["stream", "astream"])
def drain(request: pytest.FixtureRequest) -> Drain:
    """Take a stream's chunks until it ends or breaks; return them, the break, the seconds."""

    async def atake(stream: AsyncIterator[str], into: list[str]) -> None:
        async for chunk in stream:
            into.append(chunk)  # noqa: PERF401 - what came before a break is looked at

    def drained(router: Router, **options: Any) -> tuple[list[str], BaseException | None, float]:
        chunks: list[str] = []
        began = time.monotonic()
        try:
            if request.param == "stream":
                chunks.extend(router.stream(lambda client: client.stream(), **options))
            else:
                asyncio.run(
                    atake(router.astream(lambda client: client.astream(), **options), chunks)
                )
        except Exception as error:  # noqa: BLE001 - the break is what is looked at
            return chunks, error, time.monotonic() - began
        return chunks, None, time.monotonic() - began

    return drained


def test_silence_before_the_first_chunk_moves_on(drain: Drain) -> None:
    router = Router([Paced("a", 5), Paced("b", 0, 0)], policy={"first_token_timeout": 0.1})
    chunks, error, seconds = drain(router)
    assert (chunks, error) == (["b", "b"], None)
    assert seconds <= 0.1 + GRACE


def test_empty_chunks_do_not_prolong_the_time_for_the_first_content(drain: Drain) -> None:
    router = Router(
        [Paced("a", 0.03, endless=True), Paced("b", 0)], policy={"first_token_timeout": 0.15}
    )
    chunks, error, seconds = drain(router, is_content=lambda chunk: chunk == "b")
    assert (chunks, error) == (["b"], None)
    assert seconds <= 0.15 + GRACE


def test_silence_after_content_breaks_the_stream_and_marks_the_target(drain: Drain) -> None:
    router = Router([Paced("a", 0, 5), Paced("b", 0)], policy={"idle_timeout": 0.1})
    chunks, error, seconds = drain(router)
    assert chunks == ["a"]
    assert isinstance(error, AttemptTimeoutError)
    assert seconds <= 0.1 + GRACE
    status = router.status()
    assert (status["a"].failures, status["b"].requests, status.failed) == (1, 0, 1)


def test_an_attempt_timeout_ends_with_the_first_content(drain: Drain) -> None:
    router = Router([Paced("a", 0, 0.1, 0.1, 0.1)], policy={"attempt_timeout": 0.2})
    chunks, error, _ = drain(router)
    assert (chunks, error) == (["a"] * 4, None)


def test_the_total_holds_against_a_stream_that_trickles(drain: Drain) -> None:
    router = Router([Paced("a", 0.02, endless=True)], policy={"total_timeout": 0.3})
    chunks, error, seconds = drain(router)
    assert len(chunks) > 3
    assert isinstance(error, AttemptTimeoutError)
    assert seconds <= 0.3 + GRACE


def test_a_stream_cut_off_by_the_total_is_no_failure_of_its_target(drain: Drain) -> None:
    router = Router([Paced("a", 0.02, endless=True)], policy={"total_timeout": 0.1})
    drain(router)
    status = router.status()
    assert (status["a"].failures, status["a"].in_flight, status.failed) == (0, 0, 1)


def test_time_before_the_first_content_counts_to_the_total(drain: Drain) -> None:
    router = Router([Paced("a", 5), Paced("b", 5)], policy={"total_timeout": 0.4})
    _, error, seconds = drain(router)
    assert isinstance(error, AllTargetsFailedError)
    assert seconds <= 0.4 + GRACE


def test_a_consumer_that_takes_its_time_is_not_silence_of_the_target(
    fake_clock: FakeClock,
) -> None:
    client = ScriptedClient("a", default="abcdef")
    policy = {"idle_timeout": 1, "first_token_timeout": 5}
    router = Router([client], policy=policy, clock=fake_clock)
    for _ in router.stream(lambda client: client.stream()):
        fake_clock.advance(60)
    assert router.status().succeeded == 1


async def test_a_consumer_too_slow_for_the_total_does_not_mark_the_target(
    fake_clock: FakeClock,
) -> None:
    client = ScriptedClient("a", default="abcdef")
    router = Router([client], policy={"total_timeout": 100}, clock=fake_clock)

    def consume() -> None:
        for _ in router.stream(lambda client: client.stream()):
            fake_clock.advance(60)

    async def aconsume() -> None:
        async for _ in router.astream(lambda client: client.astream()):
            fake_clock.advance(60)

    with pytest.raises(AttemptTimeoutError):
        consume()
    with pytest.raises(AttemptTimeoutError):
        await aconsume()
    status = router.status()
    assert (status["a"].failures, status.failed, status["a"].in_flight) == (0, 2, 0)
