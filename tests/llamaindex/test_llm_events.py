"""A call through the pool is traced, counted and paced as one call of the bare LLM is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import LLMMetadata, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts import PromptTemplate

from failover_core.testing import FaultServer
from failover_core.testing.faults import Status
from llamaindex_failover import FailoverLLM
from tests.llamaindex.doors import DOORS, Door
from tests.llamaindex.listening import listening, tallied
from tests.llamaindex.tools import PROMPT, Song

Servers = tuple[FaultServer, FaultServer]
MakeLLM = Callable[..., FailoverLLM]

QUESTION = "Who mends the net?"

each_door = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


async def events_of(door: Door, llm: LLM) -> dict[str, int]:
    """Return how often each event of the dispatcher is heard, and of the callback manager."""
    tally, manager = tallied()
    llm.callback_manager = manager
    with listening() as heard:
        await door(llm, QUESTION)
    assert tally.starts == tally.ends
    return heard.counts() | dict(tally.starts)


@each_door
async def test_events_are_those_of_the_bare_llm(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    llm = llm_over(servers)

    assert await events_of(door, llm) == await events_of(door, llm_over(servers[1:]))


@each_door
async def test_events_of_the_bare_llm_are_one_pair(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    with listening() as heard:
        await door(llm_over(servers), QUESTION)

    ends = [kind for kind in heard.counts() if kind.endswith("EndEvent")]
    assert len(ends) == 1
    assert heard.counts()[ends[0]] == heard.counts()[ends[0].replace("End", "Start")] == 1


@each_door
async def test_a_failed_attempt_ends_no_success(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = Status(500)
    tally, manager = tallied()
    llm = llm_over(servers)
    llm.callback_manager = manager

    await door(llm, QUESTION)

    assert (tally.starts["llm"], tally.ends["llm"], tally.ends["failed"]) == (2, 1, 1)


@each_door
@pytest.mark.parametrize("primary_is_dead", [False, True], ids=["healthy", "dead primary"])
async def test_tokens_are_counted_once(
    servers: Servers,
    llm_over: MakeLLM,
    door: Door,
    primary_is_dead: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    counted = []
    for over in (servers[1:], servers):
        if primary_is_dead:
            servers[0].stop()
        handler = TokenCountingHandler(tokenizer=str.split)
        llm = llm_over(over)
        llm.callback_manager = CallbackManager([handler])
        await door(llm, QUESTION)
        counts = [event.total_token_count for event in handler.llm_token_counts]
        counted.append([count for count in counts if count])  # a failed attempt counts 0

    assert counted[0] == counted[1]
    assert len(counted[0]) == 1


async def test_settings_hand_their_callback_manager_on(
    servers: Servers, llm_over: MakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally, manager = tallied()
    for name, value in (("_llm", None), ("_callback_manager", manager)):
        monkeypatch.setattr(Settings, name, value)
    Settings.llm = llm_over(servers)

    Settings.llm.predict(PromptTemplate(QUESTION))

    assert tally.starts == {"llm": 1, "templating": 1}


def test_a_callback_manager_of_the_first_target_is_taken_over() -> None:
    tally, manager = tallied()
    llm = FailoverLLM(targets=[MockLLM(callback_manager=manager), MockLLM()])

    llm.predict(PromptTemplate(QUESTION))

    assert llm.callback_manager is manager
    assert tally.starts == {"llm": 1, "templating": 1}


def test_no_callback_manager_leaves_the_targets_theirs() -> None:
    _, manager = tallied()
    child = MockLLM(callback_manager=manager)

    llm = FailoverLLM(targets=[child], callback_manager=None)  # type: ignore[arg-type]

    assert llm.callback_manager is child.callback_manager is manager


def test_structured_prediction_is_one_pair_of_events(llm: FailoverLLM, heard: Any) -> None:
    llm.structured_predict(Song, PROMPT, topic="rain")

    assert heard.counts("LLMStructuredPredictEndEvent") == {"LLMStructuredPredictEndEvent": 1}


@each_door
async def test_a_token_budget_stops_the_call_and_blames_nobody(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    handler = TokenCountingHandler(tokenizer=str.split, token_budget=1)
    llm = llm_over(servers)
    llm.callback_manager = CallbackManager([handler])

    with pytest.raises(ValueError, match="budget exceeded"):
        await door(llm, QUESTION)

    assert not servers[1].requests
    assert [target.failures for target in llm.router.status().targets] == [0, 0]


class Limiter:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def acquire(self) -> None:
        self.asked += 1

    async def async_acquire(self) -> None:
        self.asked += 1


@each_door
async def test_the_rate_limiter_is_asked_once_a_call(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = Status(500)
    llm = llm_over(servers)
    llm.rate_limiter = limiter = Limiter()

    await door(llm, QUESTION)

    assert limiter.asked == 1


@each_door
async def test_the_rate_limiter_of_a_target_is_asked_once_an_attempt(
    servers: Servers, llm_over: MakeLLM, door: Door
) -> None:
    servers[0].fault = Status(500)
    llm = llm_over(servers)
    limiters = [Limiter(), Limiter()]
    for target, limiter in zip(llm.router.targets, limiters, strict=True):
        target.client.rate_limiter = limiter

    await door(llm, QUESTION)

    assert [limiter.asked for limiter in limiters] == [1, 1]


async def test_streams_are_the_generators_that_decorators_of_llamaindex_look_for() -> None:
    class Outer(CustomLLM):
        """An LLM around a pool, which reports a call of its own."""

        inner: LLM = FailoverLLM(targets=[MockLLM(), MockLLM()])

        @property
        def metadata(self) -> LLMMetadata:
            return self.inner.metadata

        @llm_completion_callback()
        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
            return self.inner.complete(prompt)

        @llm_completion_callback()
        def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002
            return self.inner.stream_complete(prompt)

        @llm_completion_callback()
        async def astream_complete(
            self,
            prompt: str,
            formatted: bool = False,  # noqa: FBT001, FBT002
            **kwargs: Any,
        ) -> Any:
            return await self.inner.astream_complete(prompt)

    for door in (DOORS["stream_complete"], DOORS["astream_complete"]):
        events = []
        for inner in (FailoverLLM(targets=[MockLLM(), MockLLM()]), FailoverLLM(targets=[Outer()])):
            with listening() as heard:
                assert (await door(inner, "one two")).text == "one two"
            events.append(heard.counts("LLMCompletionStartEvent", "LLMCompletionEndEvent"))

        plain, around = ([*counts.values()] for counts in events)
        assert around == [count + 1 for count in plain]
