"""Structured prediction by the LLM that answers, in the way that is native to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from failover_core.engine.attempt import Attempt
from failover_core.engine.drivers import arun, astream, run, stream
from llamaindex_failover.llm_calls import LLMCalls

if TYPE_CHECKING:
    from llama_index.core.program.utils import FlexibleModel
    from llama_index.core.prompts import PromptTemplate

M = TypeVar("M", bound=BaseModel)

LLMOptions = dict[str, Any] | None


class StructuredPrediction(LLMCalls):
    """Asks a target for an object. An answer that is no such object is a failed attempt."""

    def structured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> M:
        """Return an object of ``output_cls``."""

        def send(attempt: Attempt) -> M:
            return attempt.client.structured_predict(  # type: ignore[no-any-return]
                output_cls, prompt, llm_kwargs=dict(llm_kwargs or {}), **prompt_args
            )

        return run(self._begin(), send)

    async def astructured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> M:
        """Return an object of ``output_cls``."""

        async def send(attempt: Attempt) -> M:
            return await attempt.client.astructured_predict(  # type: ignore[no-any-return]
                output_cls, prompt, llm_kwargs=dict(llm_kwargs or {}), **prompt_args
            )

        return await arun(await self._abegin(), send)

    def stream_structured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> Generator[M | FlexibleModel]:
        """Yield ever more complete objects of ``output_cls``."""

        def send(attempt: Attempt) -> Generator[M]:
            return attempt.client.stream_structured_predict(  # type: ignore[no-any-return]
                output_cls, prompt, llm_kwargs=dict(llm_kwargs or {}), **prompt_args
            )

        objects = stream(self._begin(), send, _says_something)
        with closing(cast("Generator[M]", objects)) as opened:
            yield from opened

    async def astream_structured_predict(
        self,
        output_cls: type[M],
        prompt: PromptTemplate,
        llm_kwargs: LLMOptions = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[M | FlexibleModel]:
        """Yield ever more complete objects of ``output_cls``."""

        async def send(attempt: Attempt) -> AsyncGenerator[M]:
            return await attempt.client.astream_structured_predict(  # type: ignore[no-any-return]
                output_cls, prompt, llm_kwargs=dict(llm_kwargs or {}), **prompt_args
            )

        async def objects() -> AsyncGenerator[M]:
            chunks = astream(await self._abegin(), send, _says_something)
            async with aclosing(cast("AsyncGenerator[M]", chunks)) as opened:
                async for item in opened:
                    yield item

        return objects()


def _says_something(item: BaseModel) -> bool:
    """Return whether a partial object holds a value; the first ones are often blank."""
    return any(value is not None for value in item.model_dump().values())
