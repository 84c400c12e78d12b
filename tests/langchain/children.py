"""Chat models for targets, and a handler that writes down what a tracer would see."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import RunnableBinding
from pydantic import Field

from failover_core.testing import FaultServer


def openai_child(server: FaultServer, **options: Any) -> BaseChatModel:
    """Return a ``ChatOpenAI`` as users build them, over a server."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - slow to import

    given = {"api_key": "sk-test", "model": "tiny", "timeout": 10, "max_retries": 0, **options}
    return ChatOpenAI(base_url=f"{server.url}/v1", **given)


class Told(BaseChatModel):
    """A chat model without a stream that plays what it is told, and keeps what it was asked."""

    answer: Any = "fine"
    model_name: str = "told"
    secret_key: str = "sk-canary"
    asked: list[dict[str, Any]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "told"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "secret_key": self.secret_key}

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.asked.append({"messages": messages, "stop": stop, **kwargs})
        answer = self.answer(messages) if callable(self.answer) else self.answer
        if isinstance(answer, BaseException):
            raise answer
        message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
        return ChatResult(
            generations=[ChatGeneration(message=message)], llm_output={"model_name": "told"}
        )

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        if tool_choice is not None:
            kwargs["choice"] = tool_choice
        return RunnableBinding(bound=self, kwargs={"gear": list(tools), **kwargs})


class Streaming(Told):
    """As ``Told``, with a stream: ``chunks`` are texts, messages, and errors to raise."""

    chunks: Any = ("fi", "ne")

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.asked.append({"messages": messages, "stop": stop, **kwargs})
        for chunk in self.chunks() if callable(self.chunks) else self.chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            message = AIMessageChunk(content=chunk) if isinstance(chunk, str) else chunk
            yield ChatGenerationChunk(message=message)


class Runs(BaseCallbackHandler):
    """Writes down runs as a tracer would."""

    def __init__(self) -> None:
        self.started: list[tuple[str, UUID, UUID | None]] = []
        self.ended: list[LLMResult] = []
        self.failed: list[BaseException] = []
        self.tokens: list[str] = []
        self.params: list[dict[str, Any]] = []
        self.options: list[dict[str, Any]] = []

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, run_id: UUID, **kwargs: Any
    ) -> None:
        self.started.append(("llm", run_id, kwargs.get("parent_run_id")))
        self.params.append(kwargs.get("invocation_params") or {})
        self.options.append(kwargs.get("options") or {})

    def on_retriever_start(
        self, serialized: Any, query: str, *, run_id: UUID, **kwargs: Any
    ) -> None:
        self.started.append(("retriever", run_id, kwargs.get("parent_run_id")))

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        self.ended.append(response)

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.failed.append(error)

    @property
    def input_tokens(self) -> int:
        """All input tokens of all answers, as a cost counter adds them up."""
        answers: list[Any] = [one for run in self.ended for one in run.generations[0]]
        usages = [one.message.usage_metadata or {} for one in answers]
        return sum(usage.get("input_tokens", 0) for usage in usages)
