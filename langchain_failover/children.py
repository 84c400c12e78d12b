"""A chat model among the targets, as one attempt uses it.

``FailoverChatModel`` calls ``_generate`` and ``_stream`` of its children instead of ``invoke``
and ``stream``, so that a call is one run in a trace and its tokens count once. What ``invoke``
would have done around them is done here: the child's own arguments, its cache, its rate limiter,
and its word on whether it streams; ``child_runs`` sees to its callbacks, tags and metadata.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import (
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import DynamicRunnable

from failover_core.finishing import AsyncWatched, Watched
from langchain_failover.answers import gives_reason, has_finish
from langchain_failover.bound import TRACING_ONLY, in_words_of
from langchain_failover.cache_marks import arguments_without_marks


def is_chat_model(client: object) -> bool:
    """Return whether a target's client is, binds or configures a chat model."""
    if isinstance(client, RunnableBinding):
        return is_chat_model(client.bound)
    if isinstance(client, DynamicRunnable):
        return is_chat_model(client.default)
    return isinstance(client, BaseChatModel) or _is_made_on_demand(client)


def _is_made_on_demand(client: object) -> bool:
    """Return whether it is ``init_chat_model(configurable_fields=…)``, which has no public type."""
    return isinstance(client, Runnable) and callable(getattr(type(client), "_model", None))


def model_behind(
    client: Any, config: RunnableConfig | None = None
) -> tuple[BaseChatModel, dict[str, Any]]:
    """Return the chat model of a target's client, and the arguments bound to it.

    A configurable model is asked for what the config selects, and that of the running chain.
    """
    arguments: dict[str, Any] = {}
    config = config or {}
    while not isinstance(client, BaseChatModel):
        if isinstance(client, RunnableBinding):
            arguments = {**client.kwargs, **arguments}
            config = merge_configs(client.config, config)
            client = client.bound
        elif isinstance(client, DynamicRunnable):
            client, config = client.prepare(config)
        else:
            client = client._model(config)
    return client, arguments


def fixed_model(client: Any) -> BaseChatModel | None:
    """Return the chat model behind a client; None if the config of a call may choose another."""
    while isinstance(client, RunnableBinding):
        client = client.bound
    return client if isinstance(client, BaseChatModel) else None


def known_models(clients: Iterable[Any]) -> Iterator[tuple[BaseChatModel, dict[str, Any]]]:
    """Yield what ``model_behind`` returns, for describing a pool rather than calling it.

    A model that is chosen by the config of a call, and has no default, cannot be described.
    """
    for client in clients:
        with suppress(Exception):
            yield model_behind(client)


@dataclass(slots=True)
class Child:
    """A chat model and the arguments of one attempt."""

    model: BaseChatModel
    arguments: dict[str, Any]

    @classmethod
    def of(
        cls,
        client: Any,
        stop: list[str] | None,
        call_arguments: dict[str, Any],
        config: RunnableConfig,
    ) -> Self:
        """Return the child behind a target's client, with the arguments of a call.

        What was bound to the FailoverChatModel is put into the words of the child's provider.
        """
        model, own = model_behind(client, config)
        own["stop"] = own.get("stop") if stop is None else stop
        arguments = {**own, **in_words_of(model, call_arguments)}
        for name in TRACING_ONLY:
            arguments.pop(name, None)
        return cls(model, arguments)

    def without_marks(self) -> Self:
        """Return it without marks for a prompt cache."""
        return replace(self, arguments=arguments_without_marks(self.arguments))

    def generate(self, messages: list[BaseMessage]) -> ChatResult:
        """Answer at once, perhaps from the model's own cache."""
        if self.model.cache:
            return _detached(self.model._generate_with_cache(messages, **self.arguments))
        if self.model.rate_limiter:
            self.model.rate_limiter.acquire(blocking=True)
        if self.model._should_stream(async_api=False, **self.arguments):
            return generate_from_stream(self._chunks(messages))
        return self.model._generate(messages, **self.arguments)

    async def agenerate(self, messages: list[BaseMessage]) -> ChatResult:
        """Answer at once, perhaps from the model's own cache."""
        if self.model.cache:
            return _detached(await self.model._agenerate_with_cache(messages, **self.arguments))
        if self.model.rate_limiter:
            await self.model.rate_limiter.aacquire(blocking=True)
        if self.model._should_stream(async_api=True, **self.arguments):
            return await agenerate_from_stream(self._achunks(messages))
        return await self.model._agenerate(messages, **self.arguments)

    def stream(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        """Answer in chunks; in a single one if the model does not stream."""
        if self.model.rate_limiter:
            self.model.rate_limiter.acquire(blocking=True)
        if self.model._should_stream(async_api=False, **{**self.arguments, "stream": True}):
            return self._chunks(messages)
        return iter([_whole(self.model._generate(messages, **self.arguments))])

    async def astream(self, messages: list[BaseMessage]) -> AsyncIterator[ChatGenerationChunk]:
        """Answer in chunks; in a single one if the model does not stream."""
        if self.model.rate_limiter:
            await self.model.rate_limiter.aacquire(blocking=True)
        if self.model._should_stream(async_api=True, **{**self.arguments, "stream": True}):
            return self._achunks(messages)
        return _one(_whole(await self.model._agenerate(messages, **self.arguments)))

    def _chunks(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        chunks = self.model._stream(messages, **self.arguments)
        return Watched(chunks, gives_reason) if has_finish(type(self.model)) else chunks

    def _achunks(self, messages: list[BaseMessage]) -> AsyncIterator[ChatGenerationChunk]:
        chunks = self.model._astream(messages, **self.arguments)
        return AsyncWatched(chunks, gives_reason) if has_finish(type(self.model)) else chunks


async def _one(chunk: ChatGenerationChunk) -> AsyncIterator[ChatGenerationChunk]:
    yield chunk


def _detached(result: ChatResult) -> ChatResult:
    """Return an answer that is written on, in place of the one that lies in the model's cache."""
    return result.model_copy(deep=True)


def _whole(result: ChatResult) -> ChatGenerationChunk:
    """Return a whole answer as the one chunk of a stream."""
    generation = result.generations[0]
    fields = {**generation.message.__dict__, "type": "AIMessageChunk", "chunk_position": "last"}
    info = {**(result.llm_output or {}), **(generation.generation_info or {})}
    return ChatGenerationChunk(message=AIMessageChunk(**fields), generation_info=info or None)
