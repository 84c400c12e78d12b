"""How a call of an LLM goes over the targets, and how its answer says who served."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, closing, suppress
from typing import Any, Self, cast

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.callbacks.token_counting import get_tokens_from_response
from llama_index.core.llms.function_calling import FunctionCallingLLM
from pydantic import PrivateAttr

from failover_core import ConfigurationError
from failover_core.abilities import Differences
from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, astream, run, stream
from failover_core.engine.needs import CallOptions
from llamaindex_failover.choices import begin
from llamaindex_failover.components import FailoverComponent
from llamaindex_failover.llm_abilities import Content, Needed, differences_among
from llamaindex_failover.streaming import (
    R,
    Response,
    afinished,
    finished,
    is_content,
    resume_by,
    tells_usage,
)

PROVENANCE = "failover"
"""Key of the report in ``additional_kwargs``."""


class LLMCalls(FailoverComponent, FunctionCallingLLM):
    """Sends calls to the targets' LLMs. The rate limiter is asked once a call, not an attempt."""

    _differences: Differences[Content, dict[str, Any], Needed] = PrivateAttr()
    _preferred: str | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Build the router, and find out in what its targets differ."""
        super().model_post_init(context)
        self._differences = differences_among(self.router.targets)

    def _ask(
        self,
        send: Callable[[FunctionCallingLLM], R],
        content: Content,
        arguments: dict[str, Any],
        *needed: Any,
    ) -> R:
        call = self._begin(content, arguments, needed)
        response = run(call, lambda attempt: send(attempt.client))
        _charge(call, response)
        return _signed(response, call.report)

    async def _aask(
        self,
        send: Callable[[FunctionCallingLLM], Awaitable[R]],
        content: Content,
        arguments: dict[str, Any],
        *needed: Any,
    ) -> R:
        call = await self._abegin(content, arguments, needed)
        response = await arun(call, lambda attempt: send(attempt.client))
        _charge(call, response)
        return _signed(response, call.report)

    def _stream(
        self,
        send: Callable[[FunctionCallingLLM], Generator[R]],
        content: Content,
        arguments: dict[str, Any],
        *needed: Any,
        prefill: Callable[[FunctionCallingLLM, str], Generator[R]] | None = None,
    ) -> Generator[R]:
        call = self._begin(content, arguments, needed)
        chunks = stream(
            call,
            lambda one: finished(send(one.client), one.client),
            is_content,
            resume_by(prefill and (lambda llm, text: finished(prefill(llm, text), llm))),
        )
        return _reported(call, cast("Generator[R]", chunks))

    async def _astream(
        self,
        send: Callable[[FunctionCallingLLM], Awaitable[AsyncGenerator[R]]],
        content: Content,
        arguments: dict[str, Any],
        *needed: Any,
        prefill: Callable[[FunctionCallingLLM, str], Awaitable[AsyncGenerator[R]]] | None = None,
    ) -> AsyncGenerator[R]:
        call = await self._abegin(content, arguments, needed)
        chunks = astream(
            call,
            lambda one: afinished(send(one.client), one.client),
            is_content,
            resume_by(prefill and (lambda llm, text: afinished(prefill(llm, text), llm))),
        )
        return _areported(call, cast("AsyncGenerator[R]", chunks))

    def _begin(self, content: Content, arguments: dict[str, Any], needed: Needed = ()) -> Call:
        call = self._prepared(content, arguments, needed)
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()
        return call

    async def _abegin(
        self, content: Content, arguments: dict[str, Any], needed: Needed = ()
    ) -> Call:
        call = self._prepared(content, arguments, needed)
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()
        return call

    def _prepared(self, content: Content, arguments: dict[str, Any], needed: Needed) -> Call:
        """Begin a call, and take out of its arguments what is not for the children."""
        own = self.__pydantic_private__ or {}  # a quicker way to private attributes
        preferred = arguments.pop("preferred_target", None)
        if preferred is None:
            preferred = own["_preferred"]
        options: CallOptions = own["_differences"].options(content, arguments, needed)
        if preferred is not None:
            options["preferred_target"] = preferred
        return begin(self.router, **options)

    def _preferring(self, name: str | None) -> Self:
        """Return this LLM, or one with the same router that tries a target first.

        Raises:
            ConfigurationError: there is no such target.
        """
        if name is None:
            return self
        self.router.begin(preferred_target=name)  # an agent would take the error for an answer
        preferring = self.model_copy()
        preferring._preferred = name
        return preferring


async def _areported(call: Call, chunks: AsyncGenerator[R]) -> AsyncGenerator[R]:
    """Do what ``_reported`` does."""
    reporter = _Reporter(call)
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield reporter.on(chunk)
    finally:
        _charge(call, reporter.telling)


def _reported(call: Call, chunks: Generator[R]) -> Generator[R]:
    """Yield the chunks of a stream, each with the report, and charge the target in the end."""
    reporter = _Reporter(call)
    try:
        with closing(chunks):
            for chunk in chunks:
                yield reporter.on(chunk)
    finally:
        _charge(call, reporter.telling)


class _Reporter:
    """Puts the report of a call on the chunks of its stream.

    Attributes:
        telling: the latest chunk that tells of tokens; in OpenAI's protocol, of those so far.
    """

    __slots__ = ("_call", "_report", "telling")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._report: dict[str, Any] | None = None
        self.telling: Response | None = None

    def on(self, chunk: R) -> R:
        """Return a chunk to pass on."""
        if self._report is None or self._call.is_resuming:
            self._report = self._call.report
        if chunk.raw is not None and tells_usage(chunk.raw):
            self.telling = chunk
        chunk.additional_kwargs[PROVENANCE] = self._report
        return chunk


def _signed(response: R, report: dict[str, Any]) -> R:
    response.additional_kwargs[PROVENANCE] = report
    return response


def _charge(call: Call, response: Response | None) -> None:
    """Charge the target for the tokens that an answer, or a chunk of it, tells of."""
    if response is None or response.raw is None:
        return
    with suppress(AttributeError, TypeError, ValueError):  # a raw answer may be anything
        tokens = get_tokens_from_response(response)
        if any(tokens):
            call.used(*tokens)


def fresh(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return copies for one attempt: LLMs append to the list and change messages in it.

    Raises:
        ConfigurationError: they are no list of messages, which is no target's fault.
    """
    try:
        return [
            message.model_copy(
                update={
                    "blocks": list(message.blocks),
                    "additional_kwargs": dict(message.additional_kwargs),
                }
            )
            for message in messages
        ]
    except (AttributeError, TypeError):
        raise ConfigurationError(_no_messages(messages)) from None


def _no_messages(given: Any) -> str:
    where = "messages"
    if isinstance(given, list | tuple):
        place = next(n for n, one in enumerate(given) if not isinstance(one, ChatMessage))
        where, given = f"messages[{place}]", given[place]
    return f"{where} is {type(given).__name__}; give a list of ChatMessage objects of LlamaIndex"


def continued(messages: Sequence[ChatMessage], text: str) -> list[ChatMessage]:
    """Return copies for one attempt at a target that is to go on after a text."""
    return [*fresh(messages), ChatMessage(text, role=MessageRole.ASSISTANT)]
