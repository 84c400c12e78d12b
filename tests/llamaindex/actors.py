"""LLMs that play their part in a conversation by a rule, and fail when they are told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.mock import MockFunctionCallingLLM

Line = str | ToolCallBlock | ThinkingBlock
"""What is said: a text, a tool call, or a thought."""

Rule = Callable[[str, list[str]], list[Line]]
"""What to say, given all that has been said and the names of the tools."""

DEAD, BREAKS = "dead", "breaks"


def call(name: str, /, **arguments: Any) -> ToolCallBlock:
    """Return the call of a tool."""
    return ToolCallBlock(tool_call_id=f"call-{name}", tool_name=name, tool_kwargs=arguments)


class Actor(MockFunctionCallingLLM):
    """An LLM that speaks word by word, and by its rule.

    Attributes:
        fault: ``dead`` for an error before the first word, ``breaks`` for one after it.
        asked: how often it was.
    """

    fault: str = ""
    asked: int = 0

    _rule: Rule

    def __init__(self, rule: Rule, fault: str = "") -> None:
        super().__init__(is_chat_model=True)
        self._rule = rule
        self.fault = fault

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return [*self._pieces(messages, **kwargs)][-1]

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return [*self._pieces(messages, **kwargs)][-1]

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        return self._pieces(messages, **kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Any:
        async def pieces() -> AsyncIterator[ChatResponse]:
            for piece in self._pieces(messages, **kwargs):
                yield piece

        return pieces()

    def _pieces(
        self, messages: Sequence[ChatMessage], tools: Sequence[Any] = (), **_: Any
    ) -> Iterator[ChatResponse]:
        self.asked += 1
        self._fail_if(DEAD)
        said = "\n".join(str(message.content) for message in messages)
        text, others = "", []
        for line in self._rule(said, [tool.metadata.name for tool in tools]):
            words = line.split(" ") if isinstance(line, str) else [""]
            for number, word in enumerate(words):
                delta = (" " if number else "") + word
                text += delta
                others += [] if isinstance(line, str) else [line]
                message = ChatMessage(role="assistant", blocks=[TextBlock(text=text), *others])
                thought = line.content if isinstance(line, ThinkingBlock) else None
                told = {} if thought is None else {"thinking_delta": thought}
                yield ChatResponse(message=message, delta=delta, additional_kwargs=told)
                self._fail_if(BREAKS)

    def _fail_if(self, fault: str) -> None:
        if self.fault == fault:
            raise ConnectionError(fault)
