"""What a request needs of a chat model, and targets that are passed over for the lack of it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.tools import tool

from failover_core import AllTargetsFailedError, ErrorClass
from langchain_failover import FailoverChatModel, Target
from tests.langchain.children import Told
from tests.langchain.conftest import Door

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwAD"
    "hgGAWjR9awAAAABJRU5ErkJggg=="
)
SEEN: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": PIXEL}},
    {"type": "image", "url": PIXEL},
    {"type": "input_image", "image_url": PIXEL},
]


@tool
def add_numbers(first: int, second: int) -> int:
    """Add two numbers."""
    return first + second


class Toolless(FakeListChatModel):
    """A chat model of a class that cannot bind tools."""

    responses: list[str] = ["from the toolless"]  # noqa: RUF012 - a field


class Picky(Told):
    """A chat model that refuses these tools."""

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        raise ValueError("only my own kind of tools")  # noqa: TRY003, EM101 - as users write


def unmarked(model: FailoverChatModel) -> bool:
    """Return whether no target has a mark against it."""
    return all(not target.failures for target in model.router.status().targets)


async def test_a_child_without_tools_is_passed_over_in_a_call_with_tools(door: Door) -> None:
    model = FailoverChatModel(targets=[Toolless(), Told(answer="from the other")])

    answer = await door(model.bind_tools([add_numbers]), "Hello")

    assert answer.text == "from the other"
    assert answer.response_metadata["failover"]["attempts"] == 1
    assert answer.response_metadata["failover"]["failed_over"] is False
    assert unmarked(model)
    assert not model.router.events
    assert (await door(model, "Hello")).text == "from the toolless"


async def test_a_child_that_refuses_these_tools_is_passed_over_without_a_mark(door: Door) -> None:
    model = FailoverChatModel(targets=[Target(Picky(), name="picky"), Told(answer="taken")])

    for _ in range(20):
        assert (await door(model.bind_tools([add_numbers]), "Hello")).text == "taken"
    assert unmarked(model)
    assert model.router.status()["picky"].state == "closed"


async def test_if_no_child_takes_tools_the_error_says_so_of_each(door: Door) -> None:
    model = FailoverChatModel(targets=[Target(Toolless(), name="a"), Target(Toolless(), name="b")])

    with pytest.raises(
        AllTargetsFailedError, match=r"a does not support tools; b does not support tools"
    ) as caught:
        await door(model.bind_tools([add_numbers]), "Hello")

    assert caught.value.error_class is ErrorClass.UNSUPPORTED
    assert unmarked(model)


async def test_if_every_child_refuses_these_tools_the_error_says_so_of_each(door: Door) -> None:
    model = FailoverChatModel(targets=[Target(Picky(), name="a"), Target(Picky(), name="b")])

    with pytest.raises(AllTargetsFailedError, match=r"a: unsupported .*b: unsupported") as caught:
        await door(model.bind_tools([add_numbers]), "Hello")

    assert str(caught.value).count("Picky cannot take these tools (ValueError)") == 2
    assert str(caught.value.exceptions[0].__cause__) == "only my own kind of tools"


@pytest.mark.parametrize("image", SEEN, ids=lambda block: str(block["type"]))
async def test_a_text_only_child_is_passed_over_in_a_call_with_an_image(
    door: Door, image: dict[str, Any]
) -> None:
    blind = Told(answer="blind", profile={"image_inputs": False})
    model = FailoverChatModel(targets=[blind, Told(answer="seen")])
    message = HumanMessage([{"type": "text", "text": "What is this?"}, image])

    assert (await door(model, [message])).text == "seen"
    assert blind.asked == []
    assert unmarked(model)
    assert (await door(model, "Hello")).text == "blind"


async def test_what_a_target_says_of_itself_goes_before_its_models_profile(door: Door) -> None:
    sees_after_all = Told(answer="seen", profile={"image_inputs": False})
    model = FailoverChatModel(targets=[Target(sees_after_all, supports=["images"]), Told()])

    assert (await door(model, [HumanMessage([SEEN[0]])])).text == "seen"


async def test_a_child_without_structured_output_is_passed_over_for_a_schema(door: Door) -> None:
    model = FailoverChatModel(
        targets=[Told(profile={"structured_output": False}), Told(answer='{"name": "Rome"}')]
    )
    schema = {"type": "json_schema", "json_schema": {"name": "city", "schema": {}}}

    assert (await door(model, "Where?", response_format=schema)).text == '{"name": "Rome"}'
    assert (await door(model, "Where?", response_format={"type": "json_object"})).text == "fine"


async def test_a_long_conversation_goes_to_a_child_with_room_for_it(door: Door) -> None:
    small = Target(Told(answer="small"), context_window=1_000)
    large = Told(answer="large", profile={"max_input_tokens": 100_000})
    model = FailoverChatModel(targets=[small, large])

    assert (await door(model, "word " * 100)).text == "small"
    assert (await door(model, "word " * 2_000)).text == "large"
    assert (
        await door(model, [HumanMessage([{"type": "text", "text": "word " * 2_000}])])
    ).text == ("large")
    assert unmarked(model)


async def test_token_limits_count_what_is_asked_and_what_was_used(door: Door) -> None:
    limited = Target(Told(answer="limited"), tokens_per_minute=1_000)
    model = FailoverChatModel(targets=[limited, Told(answer="free")])

    answers = [(await door(model, "word " * 500)).text for _ in range(3)]

    assert answers[0] == "limited"
    assert answers[-1] == "free"


async def test_a_pool_among_the_targets_is_asked_for_what_one_of_its_own_can(door: Door) -> None:
    inner = FailoverChatModel(targets=[Toolless(), Told(answer="inner")])
    model = FailoverChatModel(targets=[inner, Told(answer="outer")])

    assert (await door(model.bind_tools([add_numbers]), "Hello")).text == "inner"


async def test_a_pool_among_the_targets_that_has_no_tools_is_not_blamed(door: Door) -> None:
    inner = FailoverChatModel(targets=[Toolless(), Toolless()])
    model = FailoverChatModel(targets=[inner, Told(answer="outer")])

    for _ in range(10):
        assert (await door(model.bind_tools([add_numbers]), "Hello")).text == "outer"
    assert unmarked(model)


def test_the_models_of_a_config_are_not_described_before_it_is_known() -> None:
    chosen: BaseChatModel = Toolless()
    model = FailoverChatModel(targets=[chosen.configurable_alternatives(ConfigurableField("m"))])

    assert model.targets[0].supports is None
