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
from failover_core.targets import Capability
from llamaindex_failover.instrumentation import traced_by_child
from llamaindex_failover.llm_calls import PROVENANCE, LLMCalls, fresh

if TYPE_CHECKING:
    from llama_index.core.chat_engine.types import AgentChatResponse
    from llama_index.core.tools import BaseTool

UserMessage = str | ChatMessage | None


class ToolCalling(LLMCalls):
    """Sends tools to the targets; tools are executed by the caller, once, after an answer.

    Each attempt gets a conversation of its own, because LLMs add the user's message to the list
    they are given. Tool calls are read by the LLM that made them: each has a form of its own.
    """

    @traced_by_child
    def chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """Answer a conversation, or call tools."""
        return self._ask(
            lambda llm: llm.chat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            ),
            [*(chat_history or ()), user_msg],
            kwargs,
            Capability.TOOLS,
        )

    @traced_by_child
    async def achat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponse:
        """Answer a conversation, or call tools."""
        return await self._aask(
            lambda llm: llm.achat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            ),
            [*(chat_history or ()), user_msg],
            kwargs,
            Capability.TOOLS,
        )

    @traced_by_child
    def stream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseGen:
        """Answer a conversation or call tools, piece by piece."""
        return self._stream(
            lambda llm: llm.stream_chat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            ),
            [*(chat_history or ()), user_msg],
            kwargs,
            Capability.TOOLS,
        )

    @traced_by_child
    async def astream_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> ChatResponseAsyncGen:
        """Answer a conversation or call tools, piece by piece."""
        return await self._astream(
            lambda llm: llm.astream_chat_with_tools(
                tools, *_conversation(user_msg, chat_history), *args, **kwargs
            ),
            [*(chat_history or ()), user_msg],
            kwargs,
            Capability.TOOLS,
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
        served = response.additional_kwargs.get(PROVENANCE, {}).get("target")
        llms = self._callers()
        if served not in llms:
            for llm in llms.values():
                with suppress(Exception):  # a form that is foreign to it
                    if calls := llm.get_tool_calls_from_response(
                        response, error_on_no_tool_call=False, **kwargs
                    ):
                        return calls
        reader = llms.get(served) or next(iter(llms.values()))
        return reader.get_tool_calls_from_response(
            response, error_on_no_tool_call=error_on_no_tool_call, **kwargs
        )

    @traced_by_child
    def predict_and_call(
        self,
        tools: Sequence[BaseTool],
        *args: Any,
        preferred_target: str | None = None,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Let the model choose a tool, and execute it, once, whoever chose it."""
        llm = self._preferring(preferred_target)
        return FunctionCallingLLM.predict_and_call(llm, tools, *args, **kwargs)

    @traced_by_child
    async def apredict_and_call(
        self,
        tools: Sequence[BaseTool],
        *args: Any,
        preferred_target: str | None = None,
        **kwargs: Any,
    ) -> AgentChatResponse:
        """Let the model choose a tool, and execute it, once, whoever chose it."""
        llm = self._preferring(preferred_target)
        return await FunctionCallingLLM.apredict_and_call(llm, tools, *args, **kwargs)

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: UserMessage = None,
        chat_history: list[ChatMessage] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the request that the first target with tools would send."""
        llm = next(iter(self._callers().values()))
        return llm._prepare_chat_with_tools(
            tools, *_conversation(user_msg, chat_history), *args, **kwargs
        )

    def _callers(self) -> dict[str | None, FunctionCallingLLM]:
        """Return the LLMs that can be sent tools, by the names of their targets.

        Raises:
            ConfigurationError: there are none.
        """
        callers = {
            target.name: target.client
            for target in self.router.targets
            if isinstance(target.client, FunctionCallingLLM)
        }
        if not callers:
            message = (
                f"{self.router.name}: none of its LLMs is a FunctionCallingLLM of LlamaIndex; "
                "add one that is, or use a ReActAgent, which needs none"
            )
            raise ConfigurationError(message)
        return callers


def _conversation(
    user_msg: UserMessage, chat_history: list[ChatMessage] | None
) -> tuple[UserMessage, list[ChatMessage]]:
    """Return the message and the history as one attempt may have them."""
    message = fresh([user_msg])[0] if isinstance(user_msg, ChatMessage) else user_msg
    return message, fresh(chat_history or [])
