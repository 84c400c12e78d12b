"""One request of a chat model, as it may go to several targets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.callbacks.manager import BaseRunManager
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.errors import UnsupportedError
from failover_core.resuming import Resume
from langchain_failover.answers import signed
from langchain_failover.bound import Bound
from langchain_failover.child_runs import ChildRuns, handlers_of
from langchain_failover.children import Child
from langchain_failover.splicing import shown_text, with_text


@dataclass(slots=True)
class Request:
    """A conversation to be answered.

    Attributes:
        messages: of it.
        stop: where the answer is to stop, or None for what each child has of its own.
        arguments: further ones of the call.
        config: what the caller selects of configurable children.
        run: the call in a trace, as far as LangChain tells: not of a stream.
        callbacks: that hear of the call.
        is_checked: whether an answer that does not keep to its schema counts as none.
        misfit: the first such answer, and the attempt that gave it.
    """

    messages: list[BaseMessage]
    stop: list[str] | None
    arguments: dict[str, Any]
    config: RunnableConfig
    run: BaseRunManager | None
    callbacks: Callbacks
    is_checked: bool
    misfit: tuple[Attempt, ChatResult] | None = field(default=None, init=False)

    def generate(self, attempt: Attempt) -> ChatResult:
        """Answer at once, at the target of an attempt."""
        return self._checked(attempt, self._child(attempt.client).generate(self.messages))

    async def agenerate(self, attempt: Attempt) -> ChatResult:
        """Answer at once, at the target of an attempt."""
        return self._checked(attempt, await self._child(attempt.client).agenerate(self.messages))

    def stream(self, attempt: Attempt) -> Iterator[ChatGenerationChunk]:
        """Answer in chunks, at the target of an attempt."""
        return self._child(attempt.client).stream(self.messages)

    async def astream(self, attempt: Attempt) -> AsyncIterator[ChatGenerationChunk]:
        """Answer in chunks, at the target of an attempt."""
        return await self._child(attempt.client).astream(self.messages)

    @property
    def resume(self) -> Resume[ChatGenerationChunk]:
        """How another target goes on with the stream."""
        return self._resume(
            lambda client, text: self._child(client).stream([*self.messages, AIMessage(text)])
        )

    @property
    def aresume(self) -> Resume[ChatGenerationChunk]:
        """How another target goes on with the async stream."""
        return self._resume(
            lambda client, text: self._child(client).astream([*self.messages, AIMessage(text)])
        )

    def second_best(self, call: Call, error: Exception) -> ChatResult:
        """Return the answer that does not keep to its schema, for there is no better one.

        Its reader finds the same fault as with a single model, and may know what to do.

        Raises:
            Exception: the error that ended the call; there is no such answer.
        """
        if self.misfit is None:
            raise error
        attempt, result = self.misfit
        return signed(result, call, by=attempt.target)

    def _resume(self, prefill: Any) -> Resume[ChatGenerationChunk]:
        # Servers that hold an answer to a schema begin it anew after a prefill.
        is_free = "response_format" not in self.arguments
        return Resume(shown_text, with_text, prefill if is_free else None, keeps_rest=True)

    def _child(self, client: Any) -> Child | ChildRuns:
        child = Child.of(client, self.stop, self.arguments, self.config)
        if not child.model.callbacks:
            return child
        heard = self.run.handlers if self.run else handlers_of(self.callbacks)
        return ChildRuns(child, self.run, heard)

    def _checked(self, attempt: Attempt, result: ChatResult) -> ChatResult:
        """Return a result that keeps to the schema it was asked for, if it was for any.

        Raises:
            UnsupportedError: it does not.
        """
        try:
            for bound in self.arguments.values():
                if isinstance(bound, Bound) and self.is_checked:
                    bound.check(result)
        except UnsupportedError:
            self.misfit = self.misfit or (attempt, result)
            raise
        return result
