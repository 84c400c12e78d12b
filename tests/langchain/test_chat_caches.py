"""Answers of a pool in a cache, and pools that are copied or written down."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any, cast

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.load import dumpd, dumps
from langchain_core.prompts import ChatPromptTemplate

from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel, Target
from tests.langchain.agents import Adder
from tests.langchain.children import Told, openai_child
from tests.langchain.conftest import Door

Servers = tuple[FaultServer, FaultServer]


@pytest.fixture
def _global_cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


@pytest.mark.usefixtures("_global_cache")
async def test_a_cached_answer_names_who_gave_it_even_after_that_target_died(
    chat: FailoverChatModel, servers: Servers, doors: dict[str, Door]
) -> None:
    servers[0].fault = faults.Status(500)
    first = await doors["invoke"](chat, "Hello")
    servers[0].fault = None
    servers[1].stop()

    again = [await doors[way](chat, "Hello") for way in ("invoke", "ainvoke")]

    report = first.response_metadata["failover"]
    assert [answer.response_metadata["failover"] for answer in again] == [report] * 2
    assert report["target"] == chat.router.targets[1].name
    assert chat.router.status().succeeded == 1


@pytest.mark.usefixtures("_global_cache")
def test_pools_of_other_children_never_share_a_cached_answer(servers: Servers) -> None:
    def pool(*children: Any) -> FailoverChatModel:
        return FailoverChatModel(targets=list(children))

    one, other = openai_child(servers[0]), openai_child(servers[1])
    pools = [
        pool(one),
        pool(other),
        pool(one, other),
        pool(other, one),
        pool(one.bind(temperature=1)),
        pool(openai_child(servers[0], temperature=1)),
        pool(pool(one)),
    ]

    for model in pools:
        model.invoke("Hello")
    assert len(servers[0].requests) + len(servers[1].requests) == len(pools)

    for model in pools:
        model.invoke("Hello")
        model.model_copy().invoke("Hello")
    pool(one, other).invoke("Hello")
    assert len(servers[0].requests) + len(servers[1].requests) == len(pools)


@pytest.mark.usefixtures("_global_cache")
def test_what_is_bound_is_part_of_the_cache_key(chat: FailoverChatModel, servers: Servers) -> None:
    schema = {"title": "City", "description": "A city.", "type": "object", "properties": {}}
    variants: list[Any] = [
        chat,
        chat.bind(stop=["."]),
        chat.bind(temperature=1),
        chat.bind_tools([Adder().tool]),
        chat.bind_tools([Adder().tool], tool_choice="any"),
        chat.with_structured_output(schema),
        chat.with_structured_output(schema, method="json_schema"),
        chat.with_structured_output(schema, method="json_mode"),
    ]

    for _ in range(2):
        for variant in variants:
            variant.invoke("Hello")

    assert len(servers[0].requests) == len(variants)


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_what_a_pool_writes_on_an_answer_is_not_in_its_childs_cache(
    how: str, doors: dict[str, Door]
) -> None:
    child = Told(cache=InMemoryCache())
    one, other = (FailoverChatModel(targets=[Target(child, name=name)]) for name in "ab")

    answers = [await doors[how](model, "Hello") for model in (one, child, other, child)]

    reports = [answer.response_metadata.get("failover", {}) for answer in answers]
    assert [report.get("target") for report in reports] == ["a", None, "b", None]
    assert len(child.asked) == 1


def test_a_deep_copy_and_a_pickle_answer_like_the_original(
    chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].stop()
    bound = chat.bind_tools([Adder().tool])
    chain = ChatPromptTemplate.from_template("{words}") | chat

    copies = [copy.deepcopy(bound), bound.with_config(tags=["one"])]
    pickled = cast("Any", pickle.loads(pickle.dumps(chain)))  # noqa: S301

    for one in copies:
        assert one.invoke("add_numbers 3 and 4").tool_calls
    assert pickled.invoke({"words": "Hello"}).text == "You said: Hello"


def test_a_pool_is_written_down_without_what_cannot_be_read_again(
    chat: FailoverChatModel,
) -> None:
    chain = ChatPromptTemplate.from_template("{words}") | chat.bind_tools([Adder().tool])

    written = dumpd(chain)

    assert json.loads(dumps(chain)) == written
    assert "not_implemented" in json.dumps(written)
    assert dumpd(chat)["id"][-1] == "FailoverChatModel"
