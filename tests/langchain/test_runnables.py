"""A pool under what every runnable of LangChain has: batches, costs, and wrappers on top."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableConfig, RunnableLambda

from failover_core.testing import FaultServer, faults
from langchain_failover import AllTargetsFailedError, FailoverChatModel
from tests.langchain.agents import Adder
from tests.langchain.children import Runs, Told
from tests.langchain.conftest import Door

Servers = tuple[FaultServer, FaultServer]
WORDS = ["one", "two three", "four five six"]
ANSWERS = [f"You said: {words}" for words in WORDS]

PRIMARY: dict[str, Any] = {
    "healthy": None,
    "dead": faults.Refuse(),
    "throttled": faults.Status(429),
}
primaries = pytest.mark.parametrize("fault", PRIMARY.values(), ids=PRIMARY)


async def batch(model: Any, given: Any, **options: Any) -> list[Any]:
    return model.batch(given, **options)  # type: ignore[no-any-return]


async def abatch(model: Any, given: Any, **options: Any) -> list[Any]:
    return await model.abatch(given, **options)  # type: ignore[no-any-return]


async def batch_as_completed(model: Any, given: Any, **options: Any) -> list[Any]:
    done = dict(model.batch_as_completed(given, **options))
    return [done[place] for place in sorted(done)]


async def abatch_as_completed(model: Any, given: Any, **options: Any) -> list[Any]:
    done = {place: one async for place, one in model.abatch_as_completed(given, **options)}
    return [done[place] for place in sorted(done)]


batches = pytest.mark.parametrize(
    "batch_of", [batch, abatch, batch_as_completed, abatch_as_completed]
)


@primaries
@batches
async def test_a_batch_keeps_its_order_and_reports_each_answer(
    batch_of: Any, fault: Any, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].fault = fault
    runs = Runs()

    answers = await batch_of(chat, WORDS, config={"callbacks": [runs], "max_concurrency": 2})

    assert [answer.text for answer in answers] == ANSWERS
    reports = [answer.response_metadata["failover"] for answer in answers]
    assert {report["failed_over"] for report in reports} <= {fault is not None}
    assert runs.input_tokens == 6
    assert (len(runs.started), len(runs.ended), len(runs.failed)) == (3, 3, 0)


@batches
async def test_a_batch_returns_the_errors_of_those_that_nobody_could_answer(
    batch_of: Any, chat: FailoverChatModel, servers: Servers
) -> None:
    for server in servers:
        server.fault = faults.Status(500)
    runs = Runs()

    answers = await batch_of(chat, WORDS, config={"callbacks": [runs]}, return_exceptions=True)

    assert [type(answer) for answer in answers] == [AllTargetsFailedError] * 3
    assert (len(runs.started), len(runs.failed)) == (3, 3)


@primaries
@pytest.mark.parametrize("is_async", [False, True])
async def test_generate_adds_up_what_its_answers_cost(
    is_async: bool,  # noqa: FBT001
    fault: Any,
    chat: FailoverChatModel,
    servers: Servers,
) -> None:
    conversations: Any = [[HumanMessage(words)] for words in WORDS]
    servers[0].fault = fault

    result = await chat.agenerate(conversations) if is_async else chat.generate(conversations)

    assert [answers[0].text for answers in result.generations] == ANSWERS
    assert result.llm_output is not None
    assert result.llm_output["model_name"] == "tiny"
    counts = {"prompt_tokens": 6, "completion_tokens": 12, "total_tokens": 18}
    assert counts.items() <= result.llm_output["token_usage"].items()
    assert result.run is not None
    assert len({run.run_id for run in result.run}) == 3


def test_costs_add_up_over_children_that_count_differently() -> None:
    model = FailoverChatModel(targets=[Told()])

    combined = model._combine_llm_outputs(
        [
            {"token_usage": {"total_tokens": 3, "details": {"cached": 1}}},
            None,
            {"token_usage": {"total_tokens": 4, "details": None, "kind": "fast"}},
            {"token_usage": {"total_tokens": {"in": 1}, "details": {"cached": 2}}},
            {"token_usage": None},
        ]
    )

    assert combined["token_usage"]["details"] == {"cached": 3}


async def test_runs_belong_to_the_step_that_called(door: Door, servers: Servers) -> None:
    servers[0].stop()
    urls = [f"{server.url}/v1" for server in servers]
    chat = FailoverChatModel.from_urls(urls, model="tiny")
    chains: list[tuple[Any, Any]] = []

    class Steps(Runs):
        def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
            chains.append((kwargs["run_id"], kwargs["parent_run_id"]))

    steps = Steps()
    chain = ChatPromptTemplate.from_template("{words}") | chat | RunnableLambda(lambda one: one)

    await door(chain, {"words": "Hello"}, RunnableConfig(callbacks=[steps]))

    ((_, _, parent),) = steps.started
    assert (parent, None) in chains


@pytest.mark.parametrize("door_name", ["invoke", "ainvoke"])
async def test_a_given_run_id_name_and_tags_reach_the_trace(
    door_name: str, doors: dict[str, Door], chat: FailoverChatModel
) -> None:
    seen: list[dict[str, Any]] = []

    class Names(Runs):
        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            seen.append(kwargs)

    model = chat.with_config(run_name="mine", tags=["one"], metadata={"two": 2})
    await doors[door_name](model, "Hello", RunnableConfig(callbacks=[Names()]))

    assert seen[0]["name"] == "mine"
    assert "one" in seen[0]["tags"]
    assert seen[0]["metadata"]["two"] == 2
    assert seen[0]["metadata"]["ls_provider"] == "openai"


async def test_a_retry_on_top_asks_all_targets_again(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    for server in servers:
        server.script([faults.Status(500)])
    retrying = chat.with_retry(
        retry_if_exception_type=(AllTargetsFailedError,),
        wait_exponential_jitter=False,
        stop_after_attempt=2,
    )

    if door.__name__ in {"stream", "astream"}:  # LangChain retries no streams
        with pytest.raises(AllTargetsFailedError):
            await door(retrying, "Hello")
    else:
        assert (await door(retrying, "Hello")).text == "You said: Hello"


async def test_a_fallback_on_top_is_for_when_all_targets_have_failed(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    last = Told(answer="I am all that is left")
    model = chat.with_fallbacks([last])

    servers[0].stop()
    before = await door(model, "Hello")
    servers[1].stop()
    after = await door(model, "Hello")

    assert (before.text, after.text) == ("You said: Hello", "I am all that is left")


async def test_tools_can_be_bound_through_a_fallback_on_top(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].stop()
    model: Any = chat.with_fallbacks([Told()])

    answer = await door(model.bind_tools([Adder().tool]), "add_numbers 3 and 4")

    assert answer.tool_calls[0]["args"] == {"first": 3, "second": 4}


async def test_an_alternative_is_chosen_by_the_config(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    other = FailoverChatModel(targets=[Told(answer=ConnectionError()), Told(answer="other")])
    model = chat.configurable_alternatives(ConfigurableField("which"), other=other)
    servers[0].stop()

    usual = await door(model, "Hello")
    chosen = await door(model, "Hello", {"configurable": {"which": "other"}})

    assert (usual.text, chosen.text) == ("You said: Hello", "other")
    assert chosen.response_metadata["failover"]["failed_over"]
