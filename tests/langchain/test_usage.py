"""Tokens and money, as answers tell of them."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from failover_core.testing import FaultServer
from langchain_failover import FailoverChatModel, Target
from langchain_failover.url_chat import chat_models_from_urls
from tests.langchain.children import Told
from tests.langchain.conftest import Door, ainvoke, invoke


@pytest.fixture
def model(servers: tuple[FaultServer, FaultServer]) -> FailoverChatModel:
    (child,) = chat_models_from_urls(servers[0].url + "/v1", model="m")
    return FailoverChatModel(targets=[Target(child, name="a", price=(1e6, 2e6))])


async def test_the_tokens_of_an_answer_are_charged_once(
    model: FailoverChatModel, door: Door
) -> None:
    answer = await door(model, "how many tokens?")
    usage, status = answer.usage_metadata, model.router.status()
    assert usage["output_tokens"] > 0
    assert status.tokens == status["a"].tokens == usage["total_tokens"]
    assert status.spend == usage["input_tokens"] + 2 * usage["output_tokens"]


class City(BaseModel):
    """A city."""

    name: str


def answering(text: str, **usage: int) -> Told:
    """Return a chat model whose answer tells of its tokens."""
    total = sum(usage.values())
    return Told(answer=AIMessage(text, usage_metadata={**usage, "total_tokens": total}))


@pytest.mark.parametrize("door", [invoke, ainvoke])
@pytest.mark.parametrize("last", ['{"name": "Rome"}', "{still not"], ids=["fits", "also unfit"])
async def test_answers_that_do_not_keep_to_their_schema_are_charged_to_who_gave_them(
    door: Any, last: str
) -> None:
    children = (
        answering("{no", input_tokens=3, output_tokens=4),
        answering(last, input_tokens=10, output_tokens=20),
    )
    targets = [Target(child, name=name) for child, name in zip(children, "ab", strict=True)]
    model = FailoverChatModel(targets=targets)

    try:
        await door(model.with_structured_output(City, method="json_mode"), "Where?")
    except OutputParserException:
        assert last == "{still not"

    assert [target.tokens for target in model.router.status().targets] == [7, 30]
