"""The scenarios of LangChain's own tests of ``ModelFallbackMiddleware``, without a middleware."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool

from failover_core import ConfigurationError
from langchain_failover import AllTargetsFailedError, FailoverChatModel
from tests.langchain.agents import WAYS, Ask
from tests.langchain.children import Told


def failing(text: str = "down") -> Told:
    return Told(answer=ValueError(f"{text} failed"))


def pool(*children: Any) -> FailoverChatModel:
    return FailoverChatModel(targets=list(children))


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Ask:
    return WAYS[request.param]


async def last_answer(ask: Ask, model: FailoverChatModel) -> str:
    messages: list[BaseMessage] = await ask(create_agent(model, []), "Test")
    assert [message.type for message in messages] == ["human", "ai"]
    return messages[-1].text


async def test_the_first_model_answers_while_it_can(ask: Ask) -> None:
    second = Told(answer="second")

    assert await last_answer(ask, pool(Told(answer="first"), second)) == "first"
    assert not second.asked


async def test_the_second_model_answers_when_the_first_fails(ask: Ask) -> None:
    assert await last_answer(ask, pool(failing(), Told(answer="second"))) == "second"


async def test_models_are_tried_in_their_order_until_one_answers(ask: Ask) -> None:
    children = [failing(), failing(), Told(answer="third")]

    assert await last_answer(ask, pool(*children)) == "third"
    assert [len(child.asked) for child in children] == [1, 1, 1]


async def test_an_agent_whose_models_all_fail_hears_what_each_of_them_said(ask: Ask) -> None:
    with pytest.raises(AllTargetsFailedError) as caught:
        await last_answer(ask, pool(failing("primary"), failing("second"), failing("third")))

    told = [str(error) for error in caught.value.exceptions]
    assert told == ["primary failed", "second failed", "third failed"]


@pytest.mark.parametrize(("choice", "told"), [("first", "primary failed"), ("last", "last failed")])
async def test_an_agent_may_be_given_one_models_own_error(ask: Ask, choice: str, told: str) -> None:
    children = [failing("primary"), failing("last")]
    model = FailoverChatModel(targets=children, policy={"on_exhausted": choice})

    with pytest.raises(ValueError, match=told):
        await last_answer(ask, model)


def test_there_must_be_a_model() -> None:
    with pytest.raises(ConfigurationError, match="targets"):
        pool()


# What a cache of prompts writes into a request is for one provider. It reaches every model as it
# was given, and the request is as it was before, whoever was tried.

MARK = {"cache_control": {"type": "ephemeral"}}


@tool(extras=MARK)
def look_up(query: str) -> str:
    """Look something up."""
    return query


def marked_messages() -> list[BaseMessage]:
    return [
        SystemMessage([{"type": "text", "text": "policy", **MARK}]),
        HumanMessage([{"type": "text", "text": "question", "metadata": {"source": "me", **MARK}}]),
        AIMessage([{"type": "text", "text": "previous", "extras": {"turn": 1, **MARK}}]),
        HumanMessage([{"type": "text", "text": "go on"}]),
    ]


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream", "astream"])
async def test_marks_in_a_request_reach_each_model_and_stay_in_the_request(
    how: str, doors: Any
) -> None:
    messages, children = marked_messages(), [failing(), Told()]
    before = copy.deepcopy(messages)

    await doors[how](pool(*children).bind_tools([look_up]), messages)

    assert messages == before
    assert look_up.extras == MARK
    for child in children:
        assert child.asked[0]["messages"] == before
        assert child.asked[0]["gear"] == [look_up]
