"""Tokens and money, as answers tell of them."""

from __future__ import annotations

import pytest
from llama_index.core.base.llms.types import ChatMessage

from failover_core import Target
from failover_core.testing import FaultServer
from llamaindex_failover import FailoverLLM
from llamaindex_failover.url_llm import llms_from_urls

WITH_USAGE = {"include_usage": True}
HELLO = [ChatMessage("how many tokens?")]


@pytest.fixture
def llm(servers: tuple[FaultServer, FaultServer]) -> FailoverLLM:
    (child,) = llms_from_urls(servers[0].url + "/v1", model="m")
    return FailoverLLM(targets=[Target(child, name="a", price=(1e6, 2e6))])


async def test_the_tokens_of_an_answer_are_charged_once_through_every_door(
    llm: FailoverLLM,
) -> None:
    seen = []
    llm.chat(HELLO)
    seen.append(llm.router.status().tokens)
    await llm.achat(HELLO)
    seen.append(llm.router.status().tokens)
    list(llm.stream_chat(HELLO, stream_options=WITH_USAGE))
    seen.append(llm.router.status().tokens)
    async for _ in await llm.astream_chat(HELLO, stream_options=WITH_USAGE):
        pass
    seen.append(llm.router.status().tokens)
    assert seen[0] > 0
    assert seen == [seen[0] * times for times in (1, 2, 3, 4)]
    assert seen[-1] < llm.router.status().spend < 2 * seen[-1]
