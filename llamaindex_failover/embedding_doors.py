"""What goes around the public methods of LlamaIndex's ``BaseEmbedding``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding

from failover_core.embedding import Kind
from llamaindex_failover.embedding_outcomes import one_call
from llamaindex_failover.embeddings_cache import asking_for

if TYPE_CHECKING:
    _Base = BaseEmbedding
else:
    _Base = object


class EmbeddingDoors(_Base):
    """Tells queries from texts, and lets the batches of one call end together.

    It is no component by itself, because of those LlamaIndex records a second span for each
    method that it has one for already.
    """

    def get_query_embedding(self, query: str) -> Embedding:
        """Return the vector of a query."""
        with asking_for(Kind.QUERY):
            return super().get_query_embedding(query)

    async def aget_query_embedding(self, query: str) -> Embedding:
        """Return the vector of a query."""
        with asking_for(Kind.QUERY):
            return await super().aget_query_embedding(query)

    def get_text_embedding_batch(
        self,
        texts: list[str],
        show_progress: bool = False,  # noqa: FBT001, FBT002 - the signature of BaseEmbedding
        **kwargs: Any,
    ) -> list[Embedding]:
        """Return one vector per text, asking for one batch after the other.

        Raises:
            ConfigurationError: ``texts`` is one string, or holds something else than strings.
            PartialEmbeddingError: a batch failed; it holds the vectors that there are, by the
                index of their text.
            AllTargetsFailedError: no target could embed the first batch.
        """
        with one_call(self, texts) as listed:
            return super().get_text_embedding_batch(listed, show_progress, **kwargs)

    async def aget_text_embedding_batch(
        self,
        texts: list[str],
        show_progress: bool = False,  # noqa: FBT001, FBT002 - the signature of BaseEmbedding
        **kwargs: Any,
    ) -> list[Embedding]:
        """Return what ``get_text_embedding_batch`` returns, asking for all batches at once.

        When one of them fails, no further one is sent. Those on their way are called off; if
        there is an ``embeddings_cache`` to keep what they bring, they are waited for.
        """
        batches = _Batches(self)
        token = _current.set(batches)
        try:
            with one_call(self, texts) as listed:
                try:
                    return await super().aget_text_embedding_batch(listed, show_progress, **kwargs)
                except Exception:
                    await batches.end(call_off=self.embeddings_cache is None)
                    raise
        finally:
            _current.reset(token)


class _Batches:
    """The tasks that BaseEmbedding starts for one call, and forgets when one of them fails.

    Args:
        pool: that was called; to it, a batch that fails in a pool inside it need not be lost.
    """

    def __init__(self, pool: object) -> None:
        self.pool = pool
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_over = False

    @contextmanager
    def join(self) -> Iterator[None]:
        """Make the running task one of them."""
        if self._is_over:
            raise asyncio.CancelledError
        if task := asyncio.current_task():
            self._tasks.add(task)
        try:
            yield
        except Exception:
            self._is_over = True
            raise

    async def end(self, *, call_off: bool) -> None:
        """Wait for those that have begun when one has failed."""
        pending = [task for task in self._tasks if not task.done()]
        for task in pending:
            if call_off:
                task.cancel()
        if pending:
            await asyncio.wait(pending)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # else asyncio logs that nobody asked for it


_current: ContextVar[_Batches | None] = ContextVar("failover_batches", default=None)


def among_batches(pool: object) -> AbstractContextManager[None]:
    """Return the context of a batch of a pool: if it fails, no further one of its call begins.

    Entering it raises CancelledError when another batch of the call has failed already.
    """
    batches = _current.get()
    return batches.join() if batches and batches.pool is pool else nullcontext()
