"""One request of a chat model, as it may go to several targets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
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
from langchain_failover.abilities import ChatPool
from langchain_failover.answers import charge, signed
from langchain_failover.bound import Bound
from langchain_failover.cache_marks import takes_marks, without_marks
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
        pool: that it is put to.
        call: that carries it there.
        misfit: the first answer that does not keep to its schema, and the attempt that gave it.
    """

    messages: list[BaseMessage]
    stop: list[str] | None
    arguments: dict[str, Any]
    config: RunnableConfig
    run: BaseRunManager | None
    callbacks: Callbacks
    pool: ChatPool
    call: Call
    misfit: tuple[Attempt, ChatResult] | None = field(default=None, init=False)

    def generate(self, attempt: Attempt) -> ChatResult:
        """Answer at once, at the target of an attempt."""
        child, messages = self._at(attempt.client)
        return self._taken(attempt, child.generate(messages))

    async def agenerate(self, attempt: Attempt) -> ChatResult:
        """Answer at once, at the target of an attempt."""
        child, messages = self._at(attempt.client)
        return self._taken(attempt, await child.agenerate(messages))

    def stream(self, attempt: Attempt) -> Iterator[ChatGenerationChunk]:
        """Answer in chunks, at the target of an attempt."""
        child, messages = self._at(attempt.client)
        return child.stream(messages)

    def astream(self, attempt: Attempt) -> Awaitable[AsyncIterator[ChatGenerationChunk]]:
        """Answer in chunks, at the target of an attempt."""
        child, messages = self._at(attempt.client)
        return child.astream(messages)

    @property
    def resume(self) -> Resume[ChatGenerationChunk] | None:
        """How another target goes on with the stream; None if none is to."""
        return self._resume(self._prefilled) if self.pool.resumes else None

    @property
    def aresume(self) -> Resume[ChatGenerationChunk] | None:
        """How another target goes on with the async stream; None if none is to."""
        return self._resume(self._aprefilled) if self.pool.resumes else None

    def second_best(self, error: Exception) -> ChatResult:
        """Return the answer that does not keep to its schema, for there is no better one.

        Its reader finds the same fault as with a single model, and may know what to do.

        Raises:
            Exception: the error that ended the call; there is no such answer.
        """
        if self.misfit is None:
            raise error
        attempt, result = self.misfit
        return signed(result, self.call, by=attempt.target)

    def _resume(self, prefilled: Any) -> Resume[ChatGenerationChunk]:
        # Servers that hold an answer to a schema begin it anew after a prefill.
        is_free = "response_format" not in self.arguments
        return Resume(shown_text, with_text, prefilled if is_free else None, keeps_rest=True)

    def _prefilled(self, client: Any, text: str) -> Iterator[ChatGenerationChunk]:
        child, messages = self._at(client)
        return child.stream([*messages, AIMessage(text)])

    def _aprefilled(self, client: Any, text: str) -> Awaitable[AsyncIterator[ChatGenerationChunk]]:
        child, messages = self._at(client)
        return child.astream([*messages, AIMessage(text)])

    def _at(self, client: Any) -> tuple[Child | ChildRuns, list[BaseMessage]]:
        """Return a target's model for this request, and the messages as it takes them."""
        child, messages = Child.of(client, self.stop, self.arguments, self.config), self.messages
        if self.pool.keeps_marks_apart and not takes_marks(child.model):
            child, messages = child.without_marks(), without_marks(messages)
        if not child.model.callbacks:
            return child, messages
        heard = self.run.handlers if self.run else handlers_of(self.callbacks)
        return ChildRuns(child, self.run, heard), messages

    def _taken(self, attempt: Attempt, result: ChatResult) -> ChatResult:
        """Charge a result, and return it if it keeps to the schema it was asked for, if any.

        Raises:
            UnsupportedError: it does not.
        """
        charge(self.call, result, by=attempt)
        if self.pool.router.policy.on_invalid_output == "raise":
            return result
        try:
            for bound in self.arguments.values():
                if isinstance(bound, Bound):
                    bound.check(result)
        except UnsupportedError:
            self.misfit = self.misfit or (attempt, result)
            raise
        return result
