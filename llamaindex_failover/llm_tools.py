"""Calling tools through the LLM that answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection

from failover_core import ConfigurationError
from llamaindex_failover.llm_calls import PROVENANCE, LLMCalls, fresh

if TYPE_CHECKING:
    from llama_index.core.tools import BaseTool

UserMessage = str | ChatMessage | None


class ToolCalling(LLMCalls):
    """Sends tools to the targets; tools are executed by the caller, once, after an answer.

    Each attempt gets a conversation of its own, because LLMs add the user's message to the list
    they are given. Tool calls are read by the LLM that made them: each has a form of its own.
    """

    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """Answer a conversation, or call tools."""
        self._check_tools()
        return self._ask(
            lambda llm: llm.chat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            )
        )

    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """Answer a conversation, or call tools."""
        self._check_tools()
        return await self._aask(
            lambda llm: llm.achat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            )
        )

    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """Answer a conversation or call tools, piece by piece."""
        self._check_tools()
        return self._stream(
            lambda llm: llm.stream_chat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            )
        )

    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """Answer a conversation or call tools, piece by piece."""
        self._check_tools()
        return self._astream(
            lambda llm: llm.astream_chat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            )
        )

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: FBT001, FBT002 - LlamaIndex's signature
        **kwargs: Any,
    ) -> list[ToolSelection]:
        """Return the tool calls of a response, as the LLM that gave it reads them.

        A response that does not say who gave it is read by the first LLM that finds calls in it.
        """
        self._check_tools()
        served = response.additional_kwargs.get(PROVENANCE, {}).get("target")
        llms: dict[str | None, FunctionCallingLLM] = {
            target.name: target.client for target in self.router.targets
        }
        if served not in llms:
            for llm in llms.values():
                with suppress(Exception):  # a form that is foreign to it
                    if calls := llm.get_tool_calls_from_response(
                        response, error_on_no_tool_call=False, **kwargs
                    ):
                        return calls
        reader: FunctionCallingLLM = llms.get(served, self.router.targets[0].client)
        return reader.get_tool_calls_from_response(
            response, error_on_no_tool_call=error_on_no_tool_call, **kwargs
        )

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the request that the first target would send."""
        self._check_tools()
        conversation = _conversation(user_msg, chat_history)
        llm: FunctionCallingLLM = self.router.targets[0].client
        return llm._prepare_chat_with_tools(tools, *conversation, *args, **kwargs)

    def _check_tools(self) -> None:
        for target in self.router.targets:
            if not isinstance(target.client, FunctionCallingLLM):
                message = (
                    f"{self.router.name}: target {target.name!r} "
                    f"({type(target.client).__name__}) cannot call tools; "
                    "leave it out of the targets, or use a ReActAgent, which needs no tool calls"
                )
                raise ConfigurationError(message)


def _conversation(
    user_msg: UserMessage, chat_history: list[ChatMessage] | None
) -> tuple[UserMessage, list[ChatMessage]]:
    """Return the message and the history as one attempt may have them."""
    message = fresh([user_msg])[0] if isinstance(user_msg, ChatMessage) else user_msg
    return message, fresh(chat_history or [])
