"""Retrieval that moves on to another retriever when one fails."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.language_models import BaseLanguageModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.vectorstores import VectorStore

from failover_core.children import UnfitError
from failover_core.engine.attempt import Attempt
from failover_core.engine.drivers import arun, run
from failover_core.errors import MalformedResponseError
from langchain_failover.pool import Pooled


class FailoverRetriever(BaseRetriever, Pooled):
    """A retriever over retrievers, each of which may have its own index and embedding model.

    It is therefore also the way from one embedding model to another: pair each with the index
    that it built. The runs of the retrievers appear below the run of this one in a trace.
    Further arguments of ``invoke``, such as ``k``, are handed to the retriever that serves.

    Example:
        >>> retriever = FailoverRetriever(targets=[ours.as_retriever(), theirs.as_retriever()])

    Args:
        targets: retrievers, or other runnables from a query to documents.
        policy: see ``FailoverPolicy``.
        strategy: see ``failover_core.Router``.

    Raises:
        ConfigurationError: a target is no retriever, or a setting cannot be used.
    """

    model_config = Pooled.model_config

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        def send(attempt: Attempt) -> list[Document]:
            config = RunnableConfig(callbacks=run_manager.get_child())
            return _documents(attempt.client.invoke(query, config, **kwargs))

        return run(self.router.begin(), send)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        async def send(attempt: Attempt) -> list[Document]:
            config = RunnableConfig(callbacks=run_manager.get_child())
            return _documents(await attempt.client.ainvoke(query, config, **kwargs))

        return await arun(self.router.begin(), send)

    def _adapted(self, child: Any) -> Any:
        if isinstance(child, Runnable) and not isinstance(child, BaseLanguageModel):
            return child
        remedy = "pass a retriever, or another runnable from a query to documents"
        if isinstance(child, VectorStore):
            remedy = "pass its .as_retriever()"
        raise UnfitError(remedy)


def _documents(answer: Any) -> list[Document]:
    if isinstance(answer, list) and all(isinstance(item, Document) for item in answer):
        return answer
    message = f"the retriever answered with {type(answer).__name__}, not with a list of documents"
    raise MalformedResponseError(message)
