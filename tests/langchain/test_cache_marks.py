"""Marks for Anthropic's prompt cache in pools of several vendors."""

from __future__ import annotations

import copy
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langchain_failover import FailoverChatModel
from tests.langchain.children import Streaming, Told
from tests.langchain.conftest import Door

MARK = {"cache_control": {"type": "ephemeral"}}


class Claude(Streaming):
    """A chat model that speaks Anthropic's protocol."""

    @property
    def _llm_type(self) -> str:
        return "anthropic-chat"


def marked() -> list[BaseMessage]:
    return [
        SystemMessage([{"type": "text", "text": "policy", **MARK}, "plain"]),
        HumanMessage([{"type": "text", "text": "question", "metadata": {"from": "me", **MARK}}]),
        AIMessage([{"type": "text", "text": "previous", "extras": {"turn": 1, **MARK}}]),
        HumanMessage("go on"),
    ]


def contents(child: Told) -> Any:
    return [message.content for message in child.asked[-1]["messages"]]


async def test_marks_reach_anthropics_models_and_are_kept_from_others(door: Door) -> None:
    lost = OSError()
    claude, other = Claude(answer=lost, chunks=[lost]), Streaming()
    messages, given = marked(), marked()

    await door(FailoverChatModel(targets=[claude, other]), messages, **MARK)

    assert contents(claude) == [message.content for message in given]
    assert claude.asked[0]["cache_control"] == MARK["cache_control"]
    assert contents(other) == [
        [{"type": "text", "text": "policy"}, "plain"],
        [{"type": "text", "text": "question", "metadata": {"from": "me"}}],
        [{"type": "text", "text": "previous", "extras": {"turn": 1}}],
        "go on",
    ]
    assert "cache_control" not in other.asked[0]
    assert messages == given


async def test_without_one_of_anthropics_models_marks_go_where_they_are_sent(door: Door) -> None:
    child = Streaming()
    messages = marked()

    await door(FailoverChatModel(targets=[child]), copy.deepcopy(messages), **MARK)

    assert contents(child) == [message.content for message in messages]
    assert child.asked[0]["cache_control"] == MARK["cache_control"]
