"""Streams that break after their first content and go on at another target."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from failover_core import AttemptTimeoutError, Router, Target
from failover_core.engine.call import Call
from failover_core.engine.drivers import astream, stream
from failover_core.resuming import TEXT, Resume
from failover_core.testing import FakeClock, ScriptedClient
from tests.engine.doors import REFUSED, status, trace

BROKEN = ConnectionResetError("reset")
RESUME = {"on_broken_stream": "resume"}
SENT = ["The quick ", "brown fox jumps"]
WHOLE = "The quick brown fox jumps over the lazy dog."


def prefill(client: Any, text: str) -> Any:
    return client.stream(prefill=text)


def aprefill(client: Any, text: str) -> Any:
    return client.astream(prefill=text)


class Collected:
    """What came out of a stream until it ended or broke, and the report of its call."""

    def __init__(self) -> None:
        self.chunks: list[Any] = []
        self.error: BaseException | None = None
        self.report: dict[str, Any] = {}

    @property
    def text(self) -> str:
        return "".join(self.chunks)


Collect = Callable[..., Collected]


@pytest.fixture(params=["stream", "astream"])
def collect(request: pytest.FixtureRequest) -> Collect:
    """Take a stream to its end, sync or async."""

    async def take(call: Call, resume: Resume[Any], told: Collected) -> None:
        if request.param == "stream":
            sync = dataclasses.replace(resume, prefill=resume.prefill and prefill)
            for chunk in stream(call, lambda one: one.client.stream(), bool, sync):
                told.chunks.append(chunk)
        else:
            other = dataclasses.replace(resume, prefill=resume.prefill and aprefill)
            async for chunk in astream(call, lambda one: one.client.astream(), bool, other):
                told.chunks.append(chunk)

    def collected(router: Router, resume: Resume[Any] = TEXT) -> Collected:
        told, call = Collected(), router.begin()
        try:
            asyncio.run(take(call, resume, told))
        except Exception as error:  # noqa: BLE001 - the error is what is looked at
            told.error = error
        told.report = call.report
        in_flight = [target.in_flight for target in router.status().targets]
        assert not any(in_flight)
        return told

    return collected


def continuing(text: str, *, repeats: bool = False) -> Callable[..., list[str]]:
    """Answer a prefill with the rest of a text, or with all of it."""

    def chunks(*, prefill: str) -> list[str]:
        rest = text if repeats else text.removeprefix(prefill)
        return [rest[at : at + 7] for at in range(0, len(rest), 7)]

    return chunks


def test_the_next_target_continues_where_the_stream_broke(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a = ScriptedClient("a", default=["", *SENT, BROKEN])
    b = ScriptedClient("b", default=["", "The quick brown", " fox jumps over", " the lazy dog."])
    router = pool(a, b, policy=RESUME)
    told = collect(router)
    assert (told.error, told.text) == (None, WHOLE)
    assert told.report == {
        "target": "b",
        "model": None,
        "attempts": 2,
        "failed_over": True,
        "errors": [{"target": "a", "error_class": "connection"}],
    }
    assert trace(router) == ["attempt_failed a connection", "failed_over a->b connection"]
    found = router.status()
    assert (found.succeeded, found.failed, found["a"].failures) == (1, 0, 1)


def test_without_the_policy_the_break_is_raised(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=[*SENT, BROKEN]), ScriptedClient("b", default=[WHOLE])
    told = collect(pool(a, b))
    assert (told.error, told.text, b.calls) == (BROKEN, "".join(SENT), [])


@pytest.mark.parametrize(
    "complaint",
    [["Something else."], ["The quick"], [""], status(400), REFUSED, ["The quick", REFUSED]],
    ids=str,
)
def test_if_nobody_can_continue_the_original_break_is_raised(
    complaint: Any, collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=[*SENT, BROKEN]), ScriptedClient("b", default=complaint)
    router = pool(a, b, policy=RESUME)
    told = collect(router)
    assert told.error is BROKEN
    assert told.text == "".join(SENT)
    assert (router.status().failed, router.status().succeeded) == (1, 0)


def test_a_target_that_answers_otherwise_gets_no_mark_and_the_next_one_is_asked(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a = ScriptedClient("a", default=[*SENT, BROKEN])
    b, c = ScriptedClient("b", default=["Quick!", "!"]), ScriptedClient("c", default=[WHOLE])
    router = pool(a, b, c, policy=RESUME)
    assert collect(router).text == WHOLE
    assert router.status()["b"].failures == 0
    assert trace(router) == [
        "attempt_failed a connection",
        "failed_over a->b connection",
        "attempt_failed b invalid_request",
        "failed_over b->c invalid_request",
    ]


def test_a_resumed_stream_that_breaks_is_resumed_again(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a = ScriptedClient("a", default=["The quick ", BROKEN])
    b = ScriptedClient("b", default=["The quick brown fox", REFUSED])
    told = collect(pool(a, b, ScriptedClient("c", default=[WHOLE]), policy=RESUME))
    assert (told.error, told.chunks) == (None, ["The quick ", "brown fox", WHOLE[19:]])
    assert [one["target"] for one in told.report["errors"]] == ["a", "b"]


def test_the_break_that_is_raised_is_the_first_one(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a = ScriptedClient("a", default=["The quick ", BROKEN])
    b = ScriptedClient("b", default=["The quick brown fox", REFUSED])
    told = collect(pool(a, b, policy=RESUME))
    assert (told.error, told.text) == (BROKEN, "The quick brown fox")


def test_a_target_with_sends_left_may_continue_its_own_stream(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a = ScriptedClient("a", [[*SENT, BROKEN]], default=[WHOLE])
    router = pool(a, policy={**RESUME, "retry": {"attempts": 2}})
    assert collect(router).text == WHOLE


def test_an_error_about_the_request_is_raised_at_once(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    refusal = status(400, code="content_filter")
    a, b = ScriptedClient("a", default=[*SENT, refusal]), ScriptedClient("b", default=[WHOLE])
    assert collect(pool(a, b, policy=RESUME)).error is refusal
    assert b.calls == []


@pytest.mark.parametrize("answer", [continuing(WHOLE), continuing(WHOLE, repeats=True)])
def test_a_target_that_can_prefill_is_asked_for_the_rest_alone(
    answer: Callable[..., list[str]], collect: Collect, pool: Callable[..., Router]
) -> None:
    a = ScriptedClient("a", default=["The quick brown fox jumps ", BROKEN])
    b = ScriptedClient("b", default=answer)
    router = pool(a, Target(b, supports={"prefill"}), policy=RESUME)
    told = collect(router, dataclasses.replace(TEXT, prefill=prefill))
    assert (told.error, told.text) == (None, WHOLE)
    assert b.calls[0].kwargs == {"prefill": "The quick brown fox jumps"}


@pytest.mark.parametrize("supports", [None, {"tools"}])
def test_prefill_is_never_assumed(
    supports: Any, collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=[*SENT, BROKEN]), ScriptedClient("b", default=[WHOLE])
    router = pool(a, Target(b, supports=supports), policy=RESUME)
    assert collect(router, dataclasses.replace(TEXT, prefill=prefill)).text == WHOLE
    assert b.calls[0].kwargs == {}


def test_a_stream_that_could_have_been_hedged_is_resumed_by_prefill_too(collect: Collect) -> None:
    a = ScriptedClient("a", default=["The quick brown fox jumps ", BROKEN])
    b = ScriptedClient("b", default=continuing(WHOLE))
    policy = {**RESUME, "hedge": {"after": 30}}
    router = Router([a, Target(b, supports={"prefill"})], policy=policy)
    told = collect(router, dataclasses.replace(TEXT, prefill=prefill))
    assert (told.error, told.text) == (None, WHOLE)


def test_white_space_alone_is_nothing_to_prefill(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=["\n", BROKEN]), ScriptedClient("b", default=["\nHello"])
    router = pool(a, Target(b, supports={"prefill"}), policy=RESUME)
    assert collect(router, dataclasses.replace(TEXT, prefill=prefill)).text == "\nHello"
    assert b.calls[0].kwargs == {}


def test_a_stream_of_other_things_than_text_is_not_resumed(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=["x", 1, BROKEN]), ScriptedClient("b", default=["x", 1])
    told = collect(pool(a, b, policy=RESUME))
    assert (told.error, told.chunks, b.calls) == (BROKEN, ["x", 1], [])


def test_other_things_may_follow_the_text_that_was_resumed_but_end_it(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a = ScriptedClient("a", default=["x", BROKEN])
    b = ScriptedClient("b", default=["xy", 1, REFUSED])
    c = ScriptedClient("c", default=["xy"])
    told = collect(pool(a, b, c, policy=RESUME))
    assert (told.error, told.chunks, c.calls) == (BROKEN, ["x", "y", 1], [])


def test_other_things_instead_of_the_text_are_no_continuation(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=["x", BROKEN]), ScriptedClient("b", default=[1])
    told = collect(pool(a, b, policy=RESUME))
    assert (told.error, told.chunks) == (BROKEN, ["x"])


KEEPING = dataclasses.replace(TEXT, keeps_rest=True)


def test_other_things_wait_for_the_end_if_their_reader_can(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=["x", 1, BROKEN]), ScriptedClient("b", default=["xy", 2, 3])
    told = collect(pool(a, b, policy=RESUME), KEEPING)
    assert (told.error, told.chunks) == (None, ["x", "y", 2, 3])


def test_a_stream_of_other_things_alone_begins_anew_if_they_waited(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    targets = [ScriptedClient(name, default=[1, 2, BROKEN]) for name in "abc"]
    told = collect(pool(*targets, ScriptedClient("d", default=[3, "x"]), policy=RESUME), KEEPING)
    assert (told.error, told.chunks) == (None, [3, "x"])


def test_other_things_do_not_wait_where_a_break_would_be_raised(
    collect: Collect, pool: Callable[..., Router]
) -> None:
    a, b = ScriptedClient("a", default=[1, 2, BROKEN]), ScriptedClient("b", default=[3])
    told = collect(pool(a, b), KEEPING)
    assert (told.error, told.chunks) == (BROKEN, [1, 2])


def test_silence_is_a_break_and_the_next_target_is_held_to_the_same_time() -> None:
    async def silent(*chunks: str) -> AsyncIterator[str]:
        for chunk in chunks:
            yield chunk
        await asyncio.sleep(60)

    async def take() -> list[str]:
        policy = {**RESUME, "idle_timeout": 0.1}
        router = Router([silent("x"), silent("x"), silent("xy")], policy=policy)
        got: list[str] = []

        async def collect() -> None:
            async for chunk in router.astream(lambda client: client):
                got.append(chunk)  # noqa: PERF401 - the stream breaks

        with pytest.raises(AttemptTimeoutError):
            await collect()
        errors = [event.error_class for event in router.events if event.kind == "attempt_failed"]
        assert errors == ["timeout"] * 3
        return got

    assert asyncio.run(take()) == ["x", "y"]


def test_the_total_timeout_ends_a_resumption(
    pool: Callable[..., Router], fake_clock: FakeClock
) -> None:
    def source(client: ScriptedClient) -> Iterator[str]:
        yield "x"
        fake_clock.advance(6)
        raise BROKEN if client.name == "a" else REFUSED

    router = pool("a", "b", "c", policy={**RESUME, "total_timeout": 10})
    chunks = router.stream(source)
    assert next(chunks) == "x"
    with pytest.raises(ConnectionResetError):
        next(chunks)
    assert router.status()["c"].requests == 0


def test_closing_a_resumed_stream_is_nobodys_failure(pool: Callable[..., Router]) -> None:
    a, b = ScriptedClient("a", default=["x", BROKEN]), ScriptedClient("b", default=["xy", "z"])
    router = pool(a, b, policy=RESUME)
    chunks = router.stream(lambda client: client.stream())
    assert [next(chunks), next(chunks)] == ["x", "y"]
    chunks.close()  # type: ignore[attr-defined]
    found = router.status()["b"]
    assert (found.in_flight, found.failures, router.status().failed) == (0, 0, 0)


def test_chunks_that_carry_all_of_the_text_are_told_it() -> None:
    resume: Resume[tuple[str, str]] = Resume(
        text=lambda chunk: chunk[0], cut=lambda _, text, whole: (text, whole)
    )
    a = ScriptedClient("a", default=[("on", "on"), BROKEN])
    b = ScriptedClient("b", default=[("one", "one"), (" two", "one two")])
    router = Router([a, b], policy=RESUME)
    told = list(router.stream(lambda client: client.stream(), resume=resume))
    assert told == [("on", "on"), ("e", "one"), (" two", "one two")]
