"""Tokens and money, as answers tell of them."""

from __future__ import annotations

import pytest

from failover_core.testing import FaultServer
from langchain_failover import FailoverChatModel, Target
from langchain_failover.url_chat import chat_models_from_urls
from tests.langchain.conftest import Door


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
