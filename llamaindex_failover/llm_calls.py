"""How a call of an LLM goes over the targets, and how its answer says who served."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, closing, suppress
from typing import Any, TypeVar, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.llms.function_calling import FunctionCallingLLM

from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, astream, run, stream
from llamaindex_failover.components import FailoverComponent
from llamaindex_failover.streaming import R, Response, afinished, finished, is_content, resume_by

T = TypeVar("T")

PROVENANCE = "failover"
"""Key of the report in ``additional_kwargs``."""


class LLMCalls(FailoverComponent, FunctionCallingLLM):
    """Sends calls to the targets' LLMs. The rate limiter is asked once a call, not an attempt."""

    def _ask(self, send: Callable[[FunctionCallingLLM], R]) -> R:
        call = self._begin()
        response = run(call, lambda attempt: send(attempt.client))
        _charge(call, response)
        return _signed(response, call.report)

    async def _aask(self, send: Callable[[FunctionCallingLLM], Awaitable[R]]) -> R:
        call = await self._abegin()
        response = await arun(call, lambda attempt: send(attempt.client))
        _charge(call, response)
        return _signed(response, call.report)

    def _stream(
        self,
        send: Callable[[FunctionCallingLLM], Generator[R]],
        prefill: Callable[[FunctionCallingLLM, str], Generator[R]] | None = None,
    ) -> Generator[R]:
        call = self._begin()
        chunks = stream(
            call,
            lambda one: finished(send(one.client), one.client),
            is_content,
            resume_by(prefill and (lambda llm, text: finished(prefill(llm, text), llm))),
        )
        chunk: R | None = None
        with closing(cast("Generator[R]", chunks)) as opened:
            for chunk in opened:
                yield _signed(chunk, call.report)
        _charge(call, chunk)

    async def _astream(
        self,
        send: Callable[[FunctionCallingLLM], Awaitable[AsyncGenerator[R]]],
        prefill: Callable[[FunctionCallingLLM, str], Awaitable[AsyncGenerator[R]]] | None = None,
    ) -> AsyncGenerator[R]:
        call = await self._abegin()
        chunks = astream(
            call,
            lambda one: afinished(send(one.client), one.client),
            is_content,
            resume_by(prefill and (lambda llm, text: afinished(prefill(llm, text), llm))),
        )
        chunk: R | None = None
        async with aclosing(cast("AsyncGenerator[R]", chunks)) as opened:
            async for chunk in opened:
                yield _signed(chunk, call.report)
        _charge(call, chunk)

    def _begin(self) -> Call:
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        return self.router.begin()

    async def _abegin(self) -> Call:
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        return self.router.begin()


def _signed(response: R, report: dict[str, Any]) -> R:
    response.additional_kwargs[PROVENANCE] = report
    return response


def _charge(call: Call, response: Response | None) -> None:
    """Charge the target for the tokens that its answer, or the last chunk of it, tells of."""
    with suppress(AttributeError, TypeError, ValueError):  # a raw answer may be anything
        if response is not None and any(tokens := get_tokens_from_response(response)):
            call.used(*tokens)


def fresh(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return copies for one attempt: LLMs append to the list and change messages in it."""
    return [
        message.model_copy(
            update={
                "blocks": list(message.blocks),
                "additional_kwargs": dict(message.additional_kwargs),
            }
        )
        for message in messages
    ]


def continued(messages: Sequence[ChatMessage], text: str) -> list[ChatMessage]:
    """Return copies for one attempt at a target that is to go on after a text."""
    return [*fresh(messages), ChatMessage(text, role=MessageRole.ASSISTANT)]
