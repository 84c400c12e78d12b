"""``FailoverRetriever``: one retriever for LlamaIndex out of several."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle

from failover_core import Router, Strategy
from llamaindex_failover.components import Policy, Rebuilt, Targets, build_router, instance_of

_WANTED = (
    "give a retriever of LlamaIndex (a subclass of BaseRetriever), such as index.as_retriever()"
)


class FailoverRetriever(Rebuilt, BaseRetriever):
    """A retriever that asks the first of several retrievers that can answer.

    ``pip install "rag-failover[llamaindex]"``

    Example:
        >>> FailoverRetriever([index.as_retriever(), backup_index.as_retriever()])

    Each retriever may have an index and an embedding model of its own. The query goes to each
    attempt without a vector, so that one index's query vector never reaches another; only a
    query that is nothing but a vector keeps it. Events are emitted once, by this retriever.

    Args:
        targets: retrievers, or ``Target(retriever, name=…, …)``, the preferred one first.
        policy: a FailoverPolicy or a dict of its settings.
        strategy: in which order targets are considered.
        callback_manager: of the events; None: the first target's.
        object_map: objects that index nodes stand for, as for ``BaseRetriever``.
        objects: index nodes with such objects, as for ``BaseRetriever``.
        verbose: print the retrieval from such objects.

    Raises:
        ConfigurationError: a target is no retriever, or a setting is bad.
    """

    def __init__(
        self,
        targets: Targets,
        *,
        policy: Policy = None,
        strategy: str | Strategy = "priority",
        callback_manager: CallbackManager | None = None,
        object_map: dict[str, Any] | None = None,
        objects: list[IndexNode] | None = None,
        verbose: bool = False,
    ) -> None:
        self.targets = targets
        self._policy = policy
        self._strategy = strategy
        self._router = build_router(
            targets,
            instance_of(BaseRetriever, _WANTED),
            name="FailoverRetriever",
            policy=policy,
            strategy=strategy,
        )
        first = self.router.targets[0].client
        manager = callback_manager or getattr(first, "callback_manager", None)
        super().__init__(manager, object_map, objects, verbose)

    @property
    def router(self) -> Router:
        """The router over the targets: status, events, switch, enable, disable, reset, close."""
        return self._router

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        def ask(retriever: BaseRetriever) -> list[NodeWithScore]:
            query = _fresh(query_bundle)  # its public method would emit the events again
            nodes = retriever._retrieve(query)
            return retriever._handle_recursive_retrieval(query, nodes)

        return self.router.run(ask)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        async def ask(retriever: BaseRetriever) -> list[NodeWithScore]:
            query = _fresh(query_bundle)
            nodes = await retriever._aretrieve(query)
            return await retriever._ahandle_recursive_retrieval(query, nodes)

        return await self.router.arun(ask)

    def _settings(self) -> dict[str, Any]:
        return {
            "targets": self.targets,
            "policy": self._policy,
            "strategy": self._strategy,
            "callback_manager": self.callback_manager,
            "object_map": self.object_map,
            "verbose": self._verbose,
        }


def _fresh(query: QueryBundle) -> QueryBundle:
    """Return a query for one attempt: retrievers write their vector into it."""
    texts = query.custom_embedding_strs
    return replace(
        query,
        custom_embedding_strs=None if texts is None else list(texts),
        embedding=None if query.embedding_strs or query.image_path else query.embedding,
    )
