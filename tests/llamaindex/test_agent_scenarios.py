"""Agents do over a pool what they do over the bare LLM, and are reported and counted alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms.llm import LLM

from failover_core.testing import FaultServer
from llamaindex_failover import FailoverLLM
from tests.llamaindex.actors import DEAD, Actor
from tests.llamaindex.listening import Tally, listening
from tests.llamaindex.scenarios import (
    SCENARIOS,
    Play,
    Scenario,
    a_tool_that_has_the_last_word,
    calls_once,
    fills_in,
)
from tests.llamaindex.spans import tracing
from tests.llamaindex.stacks import ONE_FAILURE_EJECTS

pytestmark = [
    pytest.mark.usefixtures("memories"),
    # LlamaIndex uses methods of pydantic that pydantic deprecates.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning"),
    # Its memory of a conversation leaves its database open, which may answer when the loop of its
    # test is closed.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings(
        "ignore:.*_connection_worker_thread:pytest.PytestUnhandledThreadExceptionWarning"
    ),
    # The memory of a run is left out where its context is saved.
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]

_LLMS = ("Actor", "UrlLLM", "FailoverLLM")

Servers = tuple[FaultServer, FaultServer]

each_scenario = pytest.mark.parametrize(
    "scenario", SCENARIOS, ids=lambda one: f"{one.play.__name__}, {one.rule.__name__}"
)


@dataclass
class Observed:
    """What an agent did, and all that listeners heard of it."""

    play: Play
    events: Counter[str]
    spans: Counter[str]
    started: Counter[str]
    ended: Counter[str]
    tokens: tuple[int, int]


async def observed(scenario: Scenario, llm: LLM) -> Observed:
    """Play a scenario over an LLM."""
    tokens, tally, play = TokenCountingHandler(tokenizer=str.split), Tally(), Play()
    llm.callback_manager = CallbackManager([tokens, tally])
    with listening() as heard, tracing() as spans:
        await scenario.play(llm, play)
    return Observed(
        play,
        Counter(event.class_name() for event in heard.events),
        Counter(name for name in spans.entered if name.startswith(_LLMS)),
        tally.starts,
        tally.ends,
        (tokens.prompt_llm_token_count, tokens.completion_llm_token_count),
    )


@each_scenario
async def test_over_a_healthy_pool_all_is_as_over_the_bare_llm(scenario: Scenario) -> None:
    bare = await observed(scenario, Actor(scenario.rule))
    assert scenario.shows in "\n".join(bare.play.seen)
    pool = FailoverLLM(targets=[Actor(scenario.rule), Actor(scenario.rule)])

    assert await observed(scenario, pool) == bare


@each_scenario
async def test_over_an_ejected_primary_all_is_as_over_the_bare_llm(scenario: Scenario) -> None:
    bare = await observed(scenario, Actor(scenario.rule))
    pool = FailoverLLM(
        targets=[Actor(scenario.rule, DEAD), Actor(scenario.rule)], policy=ONE_FAILURE_EJECTS
    )
    await scenario.play(pool, Play())

    assert await observed(scenario, pool) == bare


@each_scenario
async def test_over_a_dead_primary_nothing_but_its_failures_is_heard_besides(
    scenario: Scenario,
) -> None:
    bare = await observed(scenario, Actor(scenario.rule))
    pool = FailoverLLM(targets=[Actor(scenario.rule, DEAD), Actor(scenario.rule)])

    pooled = await observed(scenario, pool)

    assert (pooled.play, pooled.tokens) == (bare.play, bare.tokens)
    failures = pool.router.status().targets[0].failures
    assert failures
    assert pooled.ended - bare.ended == {"failed": failures}


# Over servers

AT_SERVERS = [
    one
    for one in SCENARIOS
    if one.rule in {calls_once, fills_in} and one.play is not a_tool_that_has_the_last_word
]

each_at_servers = pytest.mark.parametrize("scenario", AT_SERVERS, ids=lambda one: one.play.__name__)


@pytest.fixture
def at_servers(servers: Servers, llm_over: Callable[..., FailoverLLM]) -> FailoverLLM:
    """A pool over both servers, the first of which is ejected when it fails once."""
    return llm_over(servers, is_function_calling_model=True, policy=ONE_FAILURE_EJECTS)


@pytest.fixture
def bare_server(servers: Servers, llm_over: Callable[..., FailoverLLM]) -> LLM:
    """The LLM of the second server alone."""
    child: LLM = llm_over(servers[1:], is_function_calling_model=True).router.targets[0].client
    return child


@each_at_servers
async def test_over_healthy_servers_all_is_as_over_one_of_them(
    scenario: Scenario, at_servers: FailoverLLM, bare_server: LLM
) -> None:
    bare = await observed(scenario, bare_server)
    assert "ToolCallResult" in "\n".join(bare.play.seen)
    assert bare.spans

    assert await observed(scenario, at_servers) == bare


@each_at_servers
async def test_over_a_dead_server_and_a_healthy_one_all_is_as_over_the_latter(
    scenario: Scenario, servers: Servers, at_servers: FailoverLLM, bare_server: LLM
) -> None:
    bare = await observed(scenario, bare_server)
    servers[0].stop()

    dying = await observed(scenario, at_servers)
    dead = await observed(scenario, at_servers)

    assert (dying.play, dying.tokens) == (bare.play, bare.tokens)
    assert dying.ended - bare.ended == {"failed": 1}
    assert dead == bare
