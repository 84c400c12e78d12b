"""Retrieval that moves on to another retriever when one fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    BaseCallbackManager,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.language_models import BaseLanguageModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import patch_config
from langchain_core.vectorstores import VectorStore
from pydantic import Field

from failover_core.children import UnfitError
from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, run
from failover_core.errors import ConfigurationError
from langchain_failover.choices import Choice
from langchain_failover.documents import checked_documents, checked_query, told_k
from langchain_failover.pool import Pooled


class FailoverRetriever(BaseRetriever, Pooled):
    """A retriever over retrievers, each of which may have its own index and embedding model.

    It is therefore also the way from one embedding model to another: pair each with the index
    that it built. The runs of the retrievers appear below the run of this one in a trace, and
    what the config of a call says (tags, metadata, ``configurable``) holds for them too.
    Further arguments of ``invoke`` are handed to the retriever that serves.

    Example:
        >>> retriever = FailoverRetriever(targets=[ours.as_retriever(), theirs.as_retriever()])
        >>> retriever.invoke("Where do ships dock?", k=3)

    Args:
        targets: retrievers, or other runnables from a query to documents.
        k: documents to return at the most, whichever retriever serves; None leaves it to each.
            A call's own ``k`` goes first.
        policy: see ``FailoverPolicy``.
        strategy: see ``failover_core.Router``.

    Raises:
        ConfigurationError: a target is no retriever, or a setting cannot be used.
    """

    model_config = Pooled.model_config

    k: int | None = Field(default=None, ge=1)
    """Documents to return at the most, whichever retriever serves; None leaves it to each."""

    def invoke(
        self,
        input: str,  # noqa: A002 - the name that LangChain gave it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return the documents that a retriever found.

        Args:
            input: the query.
            config: of the call; it holds for the retriever that serves too.
                ``{"configurable": {"failover": "name"}}`` names the target to try first, of
                every pool in the chain that has it.
            **kwargs: ``k``, ``preferred_target`` (here there must be such a target), and further
                arguments for the retriever that serves.

        Raises:
            ConfigurationError: the query is no text, ``k`` is no number of documents, or there is
                no such target.
            AllTargetsFailedError: no retriever could answer.
        """
        return super().invoke(input, config, call_config=config, **kwargs)

    async def ainvoke(
        self,
        input: str,  # noqa: A002 - as above
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Return what ``invoke`` returns."""
        return await super().ainvoke(input, config, call_config=config, **kwargs)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        call, search = self._begin(query, run_manager.get_child(), **kwargs)

        def send(attempt: Attempt) -> list[Document]:
            child, arguments = search.for_child(attempt.client)
            return search.found(child.invoke(search.query, search.config, **arguments))

        return run(call, send)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        call, search = self._begin(query, run_manager.get_child(), **kwargs)

        async def send(attempt: Attempt) -> list[Document]:
            child, arguments = search.for_child(attempt.client)
            return search.found(await child.ainvoke(search.query, search.config, **arguments))

        return await arun(call, send)

    def _begin(
        self,
        query: Any,
        callbacks: BaseCallbackManager,
        *,
        call_config: RunnableConfig | None = None,
        preferred_target: str | None = None,
        k: int | None = None,
        **kwargs: Any,
    ) -> tuple[Call, _Search]:
        text = checked_query(query, of=type(self).__name__)
        wanted = self.k if k is None else _checked_k(k)
        config = patch_config(call_config, callbacks=callbacks)
        preferred = Choice(config, preferred_target).preferred_among(self._pool())
        call = self.router.begin(preferred_target=preferred)
        return call, _Search(text, config, wanted, kwargs)

    def _adapted(self, child: Any) -> Any:
        if isinstance(child, Runnable) and not isinstance(child, BaseLanguageModel):
            return child
        remedy = "pass a retriever, or another runnable from a query to documents"
        if isinstance(child, VectorStore):
            remedy = "pass its .as_retriever()"
        elif callable(child):
            remedy = "pass RunnableLambda(function)"
        raise UnfitError(remedy)


@dataclass(frozen=True, slots=True)
class _Search:
    """One search, as it may go to several retrievers.

    Attributes:
        query: its text.
        config: for the retrievers' runs.
        k: documents to return at the most; None leaves it to each retriever.
        arguments: further ones of the call.
    """

    query: str
    config: RunnableConfig
    k: int | None
    arguments: dict[str, Any]

    def for_child(self, child: Any) -> tuple[Any, dict[str, Any]]:
        """Return a retriever, and the arguments of its call, that look for so many documents."""
        if self.k is None:
            return child, self.arguments
        child, told = told_k(child, self.k)
        return child, self.arguments | told

    def found(self, answer: Any) -> list[Document]:
        """Return the documents of an answer: no more than are wanted, from any retriever."""
        return list(checked_documents(answer, of="retriever")[: self.k])


def _checked_k(k: Any) -> int:
    if isinstance(k, int) and not isinstance(k, bool) and k >= 1:
        return k
    message = f"FailoverRetriever: k is {k!r}; it must be a whole number of 1 or more, or None"
    raise ConfigurationError(message)
