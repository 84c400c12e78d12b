"""Structured output: an answer that does not keep to its schema is no answer."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field, ValidationError

from langchain_failover import FailoverChatModel, FailoverPolicy, Target
from tests.langchain.children import Told
from tests.langchain.conftest import ainvoke, invoke

Method = Literal["function_calling", "json_schema", "json_mode"]


class City(BaseModel):
    """A city."""

    name: str
    inhabitants: int = Field(gt=0)


class Town(TypedDict):
    """A town."""

    name: str


class Answering(Told):
    """A chat model that knows every method, as the providers' own do."""

    def with_structured_output(
        self, schema: Any, *, include_raw: bool = False, method: Any = "json_schema", **kwargs: Any
    ) -> Any:
        return {"raw": self.bind(kept_to=schema, by=method)} | _Identity()


class _Identity:
    def __new__(cls) -> Any:
        from langchain_core.runnables import RunnablePassthrough  # noqa: PLC0415

        return RunnablePassthrough()


def calling(**arguments: Any) -> AIMessage:
    """Return an answer that calls the schema as a tool."""
    name = "City" if "inhabitants" in arguments else "Town"
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": "1"}])


GOOD: dict[str, Any] = {
    "function_calling": calling(name="Rome", inhabitants=2_750_000),
    "json_schema": '{"name": "Rome", "inhabitants": 2750000}',
    "json_mode": '{"name": "Rome", "inhabitants": 2750000}',
}
BAD: dict[str, list[Any]] = {
    "function_calling": [calling(name="Rome", inhabitants=-1), "No tools today, sorry"],
    "json_schema": ['{"name": "Rome", "inhabitants": -1}', "{not json", "{}"],
    "json_mode": ['{"name": "Rome"}', "Rome", "null"],
}
CASES = [(method, bad) for method, answers in BAD.items() for bad in answers]


def pool(*answers: Any, **policy: Any) -> FailoverChatModel:
    """Return a pool of one chat model for each answer, named a, b, …"""
    targets = [
        Target(Answering(answer=answer), name=name)
        for name, answer in zip("abc", answers, strict=False)
    ]
    return FailoverChatModel(targets=targets, policy=FailoverPolicy(**policy))


@pytest.mark.parametrize("door", [invoke, ainvoke])
@pytest.mark.parametrize(("method", "bad"), CASES)
async def test_the_next_target_is_asked_when_an_answer_does_not_keep_to_the_schema(
    method: Method, bad: Any, door: Any
) -> None:
    model = pool(bad, GOOD[method])

    city = await door(model.with_structured_output(City, method=method), "Where?")

    assert city == City(name="Rome", inhabitants=2_750_000)
    assert [(event.kind, event.error_class) for event in model.router.events] == [
        ("attempt_failed", "unsupported"),
        ("failed_over", "unsupported"),
    ]


@pytest.mark.parametrize("door", [invoke, ainvoke])
async def test_a_target_that_does_not_keep_to_a_schema_is_not_blamed(door: Any) -> None:
    model = pool("nothing of it", GOOD["json_mode"])
    structured = model.with_structured_output(City, method="json_mode")

    for _ in range(20):
        await door(structured, "Where?")

    assert model.router.status()["a"].failures == 0
    assert (await door(model, "Hello")).text == "nothing of it"


@pytest.mark.parametrize("door", [invoke, ainvoke])
@pytest.mark.parametrize("last", ["{still not", OSError()], ids=["also unfit", "down"])
async def test_if_no_target_keeps_to_the_schema_the_parser_gets_the_first_answer(
    door: Any, last: Any
) -> None:
    model = pool('{"name": "Rome", "inhabitants": -1}', last)
    structured = model.with_structured_output(City, method="json_mode", include_raw=True)

    answer = await door(structured, "Where?")

    assert isinstance(answer["parsing_error"], OutputParserException)
    assert answer["parsed"] is None
    assert answer["raw"].text == '{"name": "Rome", "inhabitants": -1}'
    report = answer["raw"].response_metadata["failover"]
    assert report["target"] == "a"
    assert [one["target"] for one in report["errors"]] == ["a", "b"]


@pytest.mark.parametrize("door", [invoke, ainvoke])
async def test_if_no_target_keeps_to_the_schema_the_error_is_the_parsers_own(door: Any) -> None:
    model = pool(*BAD["function_calling"][:1] * 2)

    with pytest.raises(ValidationError):
        await door(model.with_structured_output(City), "Where?")


@pytest.mark.parametrize("on_exhausted", ["first", "last", "group"])
def test_so_it_is_whatever_error_is_asked_for_in_the_end(on_exhausted: Any) -> None:
    model = pool("{no", OSError(), on_exhausted=on_exhausted)

    with pytest.raises(OutputParserException):
        model.with_structured_output(City, method="json_mode").invoke("Where?")


@pytest.mark.parametrize("door", [invoke, ainvoke])
async def test_the_policy_may_leave_answers_to_the_parser(door: Any) -> None:
    model = pool("{no", GOOD["json_mode"], on_invalid_output="raise")

    with pytest.raises(OutputParserException):
        await door(model.with_structured_output(City, method="json_mode"), "Where?")
    assert not model.router.events


async def test_a_typed_dict_and_a_json_schema_are_kept_to_as_well() -> None:
    model = pool("no tools", calling(name="Ostia"))
    town = await model.with_structured_output(Town).ainvoke("Where?")
    named = model.with_structured_output(
        {"title": "Town", "description": "A town.", "type": "object", "properties": {}}
    )

    assert town == {"name": "Ostia"}
    assert named.invoke("Where?") == {"name": "Ostia"}


def test_answers_to_plain_tools_are_left_to_their_caller() -> None:
    model = pool("no tools today", calling(name="Rome", inhabitants=1))
    assert model.bind_tools([City]).invoke("Where?").text == "no tools today"
