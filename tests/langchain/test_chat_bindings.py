"""Arguments, tools and schemas on their way to the children, in each child's own words."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import ConfigurableField, RunnableConfig
from langchain_core.tools import tool
from pydantic import BaseModel

from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverChatModel, Target
from tests.langchain.children import Runs, Streaming, Told, openai_child
from tests.langchain.conftest import Door

Servers = tuple[FaultServer, FaultServer]


@tool
def add_numbers(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int


async def test_bound_tools_reach_the_child_that_serves(
    door: Door, chat: FailoverChatModel, servers: Servers
) -> None:
    servers[0].stop()

    answer = await door(chat.bind_tools([add_numbers]), "Please run add_numbers on 3 and 4")

    assert [call["name"] for call in answer.tool_calls] == ["add_numbers"]
    assert answer.tool_calls[0]["args"] == {"first": 3, "second": 4}


async def test_each_child_binds_tools_as_they_were_given(door: Door) -> None:
    first, second = Told(answer=ConnectionError()), Told()
    bound = FailoverChatModel(targets=[first, second]).bind_tools([add_numbers], tool_choice="any")

    await door(bound, "Hello")

    for child in (first, second):
        (asked,) = child.asked
        assert asked["gear"] == [add_numbers]
        assert asked["choice"] == "any"
        assert not {"tools", "tool_choice"} & asked.keys()


def test_traces_see_the_tools_in_the_words_of_openai() -> None:
    runs = Runs()
    bound = FailoverChatModel(targets=[Told()]).bind_tools([add_numbers], tool_choice="any")

    bound.invoke("Hello", RunnableConfig(callbacks=[runs]))

    (params,) = runs.params
    assert params["tools"][0]["function"]["name"] == "add_numbers"
    assert params["tool_choice"] == "any"


def test_what_the_call_says_goes_over_what_was_bound() -> None:
    child = Told()
    bound = FailoverChatModel(targets=[child]).bind_tools([add_numbers], strict=True)

    bound.invoke("Hello", strict=False, stop=["."])

    assert child.asked[0]["strict"] is False
    assert child.asked[0]["stop"] == ["."]


Method = Literal["function_calling", "json_schema"]
JSON_SCHEMA = {**City.model_json_schema(), "description": "A city."}


@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("schema", [City, JSON_SCHEMA], ids=["pydantic", "json schema"])
async def test_structured_output_comes_from_the_target_that_serves(
    schema: Any,
    how: str,
    method: Method,
    chat: FailoverChatModel,
    servers: Servers,
    doors: dict[str, Door],
) -> None:
    servers[0].stop()
    structured = chat.with_structured_output(schema, method=method)

    city: Any = await doors[how](structured, "'Ghent' has 270000 inhabitants")

    assert dict(city) == {"name": "Ghent", "inhabitants": 270000}
    assert isinstance(city, City if schema is City else dict)


def test_include_raw_gives_the_message_with_its_report(chat: FailoverChatModel) -> None:
    structured = chat.with_structured_output(City, include_raw=True)

    result = structured.invoke("'Ghent' has 270000 inhabitants")

    assert result["parsed"] == City(name="Ghent", inhabitants=270000)
    assert result["parsing_error"] is None
    assert result["raw"].response_metadata["failover"]["attempts"] == 1


def test_include_raw_tells_what_could_not_be_parsed() -> None:
    model = FailoverChatModel(
        targets=[
            Told(
                answer=AIMessage(
                    "", tool_calls=[{"name": "City", "args": {"name": "Ghent"}, "id": "1"}]
                )
            )
        ]
    )

    result = model.with_structured_output(City, include_raw=True).invoke("Hello")

    assert result["parsed"] is None
    assert result["parsing_error"] is not None


def test_structured_output_is_named_in_the_trace(chat: FailoverChatModel) -> None:
    runs = Runs()

    chat.with_structured_output(City).invoke("'Ghent' has 1", RunnableConfig(callbacks=[runs]))

    assert runs.options[0]["ls_structured_output_format"]["schema"]["title"] == "City"


async def test_arguments_bound_to_a_child_hold(door: Door) -> None:
    model = FailoverChatModel(targets=[Told().bind(stop=["x"]), Told()])
    child = model.router.targets[0].client.bound

    await door(model, "Hello", temperature=0)

    await door(model, "Hello", temperature=0, stop=["y"])

    assert [(one["stop"], one["temperature"]) for one in child.asked] == [(["x"], 0), (["y"], 0)]


async def test_a_configurable_child_follows_the_config_of_the_chain(
    door: Door, servers: Servers
) -> None:
    child = openai_child(servers[0]).configurable_fields(model_name=ConfigurableField("which"))
    model = FailoverChatModel(targets=[Target(child, name="one")])
    chain = model | (lambda message: message)

    await door(chain, "Hello", {"configurable": {"which": "large"}})

    assert servers[0].requests[-1].body["model"] == "large"


async def test_a_model_that_is_chosen_late_can_be_a_target(door: Door, servers: Servers) -> None:
    from langchain.chat_models import init_chat_model  # noqa: PLC0415

    child = init_chat_model(
        "tiny",
        model_provider="openai",
        configurable_fields=("temperature",),
        base_url=f"{servers[0].url}/v1",
        api_key="sk-test",
        max_retries=0,
    )
    model = FailoverChatModel(targets=[child])

    answer = await door(model, "Hello")

    assert answer.content == "You said: Hello"


async def test_a_model_chosen_by_each_call_does_not_stop_the_others(door: Door) -> None:
    from langchain.chat_models import init_chat_model  # noqa: PLC0415

    model = FailoverChatModel(targets=[init_chat_model(), Told()])

    answer = await door(model, "Hello")

    assert answer.content == "fine"


async def test_the_content_format_of_the_children_is_the_pools(door: Door) -> None:
    model = FailoverChatModel(targets=[Told(output_version="v1"), Told(output_version="v1")])

    answer = await door(model, "Hello")

    assert [block["type"] for block in answer.content] == ["text"]
    assert answer.text == "fine"


class Turns(InMemoryRateLimiter):
    """Counts who asked for a turn."""

    def __init__(self) -> None:
        super().__init__(requests_per_second=1e6, max_bucket_size=1e6)
        self.taken = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.taken += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


async def test_a_childs_rate_limiter_is_asked_once_per_attempt(door: Door) -> None:
    limiters = [Turns(), Turns()]
    children = [Told(answer=OSError(), rate_limiter=limiters[0]), Told(rate_limiter=limiters[1])]

    await door(FailoverChatModel(targets=children), "Hello")

    assert [limiter.taken for limiter in limiters] == [1, 1]


@pytest.mark.parametrize("how", ["stream", "astream"])
async def test_a_child_told_not_to_stream_does_not(how: str, doors: dict[str, Door]) -> None:
    child = Streaming(answer="whole", chunks=["in ", "parts"], disable_streaming=True)

    answer = await doors[how](FailoverChatModel(targets=[child]), "Hello")

    assert answer.content == "whole"


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_a_child_told_to_stream_always_does(
    how: str, doors: dict[str, Door], servers: Servers
) -> None:
    model = FailoverChatModel(targets=[openai_child(servers[0], streaming=True)])

    answer = await doors[how](model, "Hello")

    assert answer.content == "You said: Hello"
    assert servers[0].requests[-1].body["stream"] is True


def test_a_per_call_model_reaches_every_child(chat: FailoverChatModel, servers: Servers) -> None:
    servers[0].script([faults.Status(503)])

    chat.invoke("Hello", model="large")

    assert [server.requests[-1].body["model"] for server in servers] == ["large", "large"]


def test_a_model_that_cannot_call_tools_hands_over_to_one_that_can() -> None:
    class Plain(Told):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return BaseChatModel.bind_tools(self, tools, **kwargs)

    able = Told()
    FailoverChatModel(targets=[Plain(), able]).bind_tools([add_numbers]).invoke("Hello")

    assert able.asked[0]["gear"] == [add_numbers]
