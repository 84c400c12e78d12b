"""Runs of single attempts, for the callbacks that a child has of its own.

A call of the pool is one run, which the pool's callbacks and tracers see. Callbacks of a child
(``ChatOpenAI(callbacks=[…])``) hear of that child's attempts alone, each as a run below that one,
with the child's own tags and metadata.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    BaseCallbackManager,
    CallbackManager,
    CallbackManagerForLLMRun,
    Callbacks,
)
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.load import dumpd
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult, LLMResult

from langchain_failover.children import Child


class ChildRuns:
    """Answers of a child, of which its own callbacks hear.

    Args:
        child: with the arguments of an attempt.
        parent: the run of the call, if it is known.
        heard: callbacks that hear of the call itself.
    """

    def __init__(
        self, child: Child, parent: BaseRunManager | None, heard: Sequence[BaseCallbackHandler]
    ) -> None:
        self._child = child
        self._parent = parent
        self._heard = heard

    def generate(self, messages: list[BaseMessage]) -> ChatResult:
        """Answer at once."""
        with self._run(messages) as run:
            result = self._child.generate(messages)
            run.on_llm_end(_whole(result))
        return result

    async def agenerate(self, messages: list[BaseMessage]) -> ChatResult:
        """Answer at once."""
        async with self._arun(messages) as run:
            result = await self._child.agenerate(messages)
            await run.on_llm_end(_whole(result))
        return result

    def stream(self, messages: list[BaseMessage]) -> Iterator[ChatGenerationChunk]:
        """Answer in chunks."""
        with self._run(messages) as run:
            heard: list[ChatGenerationChunk] = []
            for chunk in self._child.stream(messages):
                heard.append(chunk.model_copy(deep=True))
                run.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            run.on_llm_end(_put_together(heard))

    async def astream(self, messages: list[BaseMessage]) -> AsyncIterator[ChatGenerationChunk]:
        """Answer in chunks."""
        return self._achunks(messages)

    async def _achunks(self, messages: list[BaseMessage]) -> AsyncIterator[ChatGenerationChunk]:
        async with self._arun(messages) as run:
            heard: list[ChatGenerationChunk] = []
            async for chunk in await self._child.astream(messages):
                heard.append(chunk.model_copy(deep=True))
                await run.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            await run.on_llm_end(_put_together(heard))

    @contextmanager
    def _run(self, messages: list[BaseMessage]) -> Iterator[CallbackManagerForLLMRun]:
        manager = CallbackManager(**self._settings())
        (run,) = manager.on_chat_model_start(*self._start(messages), **self._told())
        try:
            yield run
        except BaseException as error:
            run.on_llm_error(error)
            raise

    @asynccontextmanager
    async def _arun(
        self, messages: list[BaseMessage]
    ) -> AsyncIterator[AsyncCallbackManagerForLLMRun]:
        manager = AsyncCallbackManager(**self._settings())
        (run,) = await manager.on_chat_model_start(*self._start(messages), **self._told())
        try:
            yield run
        except BaseException as error:
            await run.on_llm_error(error)
            raise

    def _settings(self) -> dict[str, Any]:
        # Not by CallbackManager.configure: it adds the tracers of the environment, which see the
        # call itself, and would count its tokens twice.
        model = self._child.model
        handlers = handlers_of(model.callbacks)
        return {
            "handlers": [one for one in handlers if not any(one is other for other in self._heard)],
            "parent_run_id": self._parent.run_id if self._parent else None,
            "tags": list(model.tags or []),
            "metadata": dict(model.metadata or {}),
        }

    def _start(self, messages: list[BaseMessage]) -> tuple[Any, list[list[BaseMessage]]]:
        return dumpd(self._child.model), [messages]

    def _told(self) -> dict[str, Any]:
        arguments = self._child.arguments
        return {
            "invocation_params": self._child.model._get_invocation_params(**arguments),
            "options": {"stop": arguments.get("stop")},
            "batch_size": 1,
        }


def handlers_of(callbacks: Callbacks) -> Sequence[BaseCallbackHandler]:
    """Return callbacks as a list, in whatever form they were given."""
    if isinstance(callbacks, BaseCallbackManager):
        return callbacks.handlers
    return callbacks or []


def _whole(result: ChatResult) -> LLMResult:
    return LLMResult(generations=[[*result.generations]], llm_output=result.llm_output)


def _put_together(chunks: list[ChatGenerationChunk]) -> LLMResult:
    return LLMResult(generations=[[sum(chunks[1:], chunks[0])] if chunks else []])
