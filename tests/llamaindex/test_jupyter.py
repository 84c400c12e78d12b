"""Notebooks: a loop runs already, others run in threads, and calls of both kinds in each."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.agent.react.formatter import ReActChatFormatter
from llama_index.core.agent.react.output_parser import ReActOutputParser
from llama_index.core.async_utils import asyncio_run
from llama_index.core.base.llms.types import ChatMessage

from failover_core import AllTargetsFailedError
from failover_core.testing import FaultServer
from failover_core.testing.faults import Hang, Status
from llamaindex_failover import FailoverLLM
from tests.llamaindex.actors import DEAD, Actor, Line
from tests.llamaindex.doors import DOORS, Told
from tests.llamaindex.tools import PROMPT, Song, Weather

# LlamaIndex uses methods of pydantic that pydantic deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")

Servers = tuple[FaultServer, FaultServer]
MakeLLM = Callable[..., FailoverLLM]

QUESTION = "Who mends the net?"
ANSWER = f"You said: {QUESTION}"
HELLO = [ChatMessage(QUESTION)]
THREADS = 8


async def every_door(llm: FailoverLLM) -> list[Told]:
    """Go through all doors, the synchronous ones in the midst of a running loop."""
    return [await door(llm, QUESTION) for door in DOORS.values()]


async def test_synchronous_calls_work_while_a_loop_runs(llm: FailoverLLM) -> None:
    assert {told.text for told in await every_door(llm)} == {ANSWER}
    assert llm.structured_predict(Song, PROMPT, topic="rain").title
    assert [*llm.stream_structured_predict(Song, PROMPT, topic="rain")]
    assert str(llm.predict_and_call([Weather().tool], "The weather in 'Oslo'?")).startswith("sunny")


async def test_they_keep_to_their_time_there(servers: Servers, llm_over: MakeLLM) -> None:
    servers[0].fault = Hang()
    once = {"consecutive_failures": 1, "cooldown": 60}
    llm = llm_over(servers, policy={"attempt_timeout": 2, "breaker": once})

    assert {told.text for told in await every_door(llm)} == {ANSWER}


async def test_coroutines_run_from_synchronous_code_while_a_loop_runs(llm: FailoverLLM) -> None:
    texts = [str(asyncio_run(llm.achat(HELLO)).message.content) for _ in range(3)]
    texts += [told.text for told in asyncio_run(every_door(llm))]

    assert set(texts) == {ANSWER}
    assert {told.text for told in await every_door(llm)} == {ANSWER}


async def test_the_error_of_a_pool_comes_out_of_them_as_it_is(
    servers: Servers, llm_over: MakeLLM
) -> None:
    servers[0].fault = servers[1].fault = Status(500)
    llm = llm_over(servers)

    with pytest.raises(AllTargetsFailedError):
        asyncio_run(llm.achat(HELLO))


def test_threads_with_loops_of_their_own_share_a_pool(llm: FailoverLLM) -> None:
    def cell(_: int) -> list[Told]:
        return asyncio.run(every_door(llm)) + asyncio.run(every_door(llm))

    with ThreadPoolExecutor(THREADS) as threads:
        told = [one for many in threads.map(cell, range(THREADS)) for one in many]

    assert {one.text for one in told} == {ANSWER}
    status = llm.router.status()
    assert status.requests == status.succeeded == len(told)
    assert not any(target.in_flight for target in status.targets)


async def test_many_calls_at_once_share_a_loop_with_synchronous_ones(llm: FailoverLLM) -> None:
    asked = [asyncio.create_task(llm.achat(HELLO)) for _ in range(16)]
    asked += [asyncio.create_task(asyncio.to_thread(llm.chat, HELLO)) for _ in range(16)]
    await asyncio.sleep(0)

    assert llm.chat(HELLO).message.content == ANSWER
    assert {str(one.message.content) for one in await asyncio.gather(*asked)} == {ANSWER}


NESTED = """
import asyncio, sys
import nest_asyncio
from llama_index.core.base.llms.types import ChatMessage
from llamaindex_failover import FailoverLLM

nest_asyncio.apply()
llm = FailoverLLM.from_urls(sys.argv[1], model="m", policy={"attempt_timeout": 20})

async def ask():
    return (await llm.achat([ChatMessage(sys.argv[2])])).message.content

async def cell():
    return asyncio.run(ask()), asyncio.get_running_loop().run_until_complete(ask())

print(*asyncio.run(cell()), sep="\\n")
"""


def test_loops_that_are_nested_and_never_closed_end_in_silence(servers: Servers) -> None:
    urls = ",".join(f"{server.url}/v1" for server in servers)

    ran = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", NESTED, urls, QUESTION], capture_output=True, text=True, check=True
    )

    assert ran.stdout.splitlines() == [ANSWER] * 2
    assert not ran.stderr


def test_a_server_that_dies_and_returns_between_loops_is_noticed(
    servers: Servers, llm_over: MakeLLM
) -> None:
    llm = llm_over(servers, policy={"breaker": {"consecutive_failures": 1, "cooldown": 0.05}})

    def served() -> Any:
        return asyncio.run(llm.achat(HELLO)).additional_kwargs["failover"]["target"]

    names = [str(target.name) for target in llm.router.targets]
    assert served() == names[0]
    servers[0].stop()
    assert served() == names[1]
    servers[0].start()
    llm.router.reset()
    assert served() == names[0]


@pytest.mark.usefixtures("memory")
@pytest.mark.filterwarnings("ignore:is_running called from within a step:DeprecationWarning")
@pytest.mark.parametrize("fault", ["", DEAD])
async def test_tools_called_in_words_are_executed_once_while_a_loop_runs(fault: str) -> None:
    def reacts(_: str, __: list[str]) -> list[Line]:
        action = 'Action: weather\nAction Input: {"city": "Oslo"}'
        return [f"Thought: I need a tool to help me.\n{action}"]

    class InWords(Actor):
        """An LLM that is not told to be able to call tools."""

        def __init__(self, fault: str = "") -> None:
            super().__init__(reacts, fault)

        @property
        def metadata(self) -> Any:
            return super().metadata.model_copy(update={"is_function_calling_model": False})

    llm = FailoverLLM(targets=[InWords(fault), InWords()])
    weather = Weather()
    words: dict[str, Any] = {
        "react_chat_formatter": ReActChatFormatter(),
        "output_parser": ReActOutputParser(),
    }

    called = llm.predict_and_call([weather.tool], QUESTION, **words)
    acalled = await llm.apredict_and_call([weather.tool], QUESTION, **words)

    assert (str(called), str(acalled)) == ("sunny in Oslo", "sunny in Oslo")
    assert weather.executions == 2
