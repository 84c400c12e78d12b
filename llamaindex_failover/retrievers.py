"""``FailoverRetriever``: one retriever for LlamaIndex out of several."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks import CallbackManager
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle

from failover_core import Router, Strategy
from failover_core.engine.attempt import Attempt
from failover_core.engine.drivers import arun, run
from llamaindex_failover.choices import begin
from llamaindex_failover.components import Policy, Rebuilt, Targets, build_router, instance_of
from llamaindex_failover.instrumentation import traced, traced_by_child
from llamaindex_failover.nodes import checked_nodes
from llamaindex_failover.queries import fresh_query

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
    The instrument tag ``{"failover": "name"}`` names the target to try first.

    Args:
        targets: retrievers, or ``Target(retriever, name=…, …)``, the preferred one first.
        policy: a FailoverPolicy or a dict of its settings.
        strategy: in which order targets are considered.
        callback_manager: of the events, the targets' too; None: the first target's.
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
            name=self.class_name(),
            policy=policy,
            strategy=strategy,
        )
        manager = callback_manager or self.router.targets[0].client.callback_manager
        super().__init__(manager, object_map, objects, verbose)

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class, as the other classes have one in their dumps."""
        return "FailoverRetriever"

    @property
    def callback_manager(self) -> CallbackManager:
        """Hears of this retriever's events, and of those that the targets emit inside."""
        return self._callback_manager

    @callback_manager.setter
    def callback_manager(self, manager: CallbackManager) -> None:
        self._callback_manager = manager
        for target in self.router.targets:
            target.client.callback_manager = manager

    @property
    def router(self) -> Router:
        """The router over the targets: status, events, switch, enable, disable, reset, close."""
        return self._router

    @traced_by_child
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        def send(attempt: Attempt) -> list[NodeWithScore]:
            retriever, query = attempt.client, fresh_query(query_bundle)
            # Its public method would emit the events again.
            nodes = checked_nodes(traced(retriever._retrieve)(query), of="retriever")
            found: list[NodeWithScore] = retriever._handle_recursive_retrieval(query, nodes)
            return found

        return run(begin(self.router), send)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        async def send(attempt: Attempt) -> list[NodeWithScore]:
            retriever, query = attempt.client, fresh_query(query_bundle)
            nodes = checked_nodes(await traced(retriever._aretrieve)(query), of="retriever")
            found: list[NodeWithScore] = await retriever._ahandle_recursive_retrieval(query, nodes)
            return found

        return await arun(begin(self.router), send)

    # The retriever that served has followed its index nodes; a second pass would go too far.

    def _handle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        if not self.object_map:
            return nodes
        return super()._handle_recursive_retrieval(query_bundle, nodes)

    async def _ahandle_recursive_retrieval(
        self, query_bundle: QueryBundle, nodes: list[NodeWithScore]
    ) -> list[NodeWithScore]:
        if not self.object_map:
            return nodes
        return await super()._ahandle_recursive_retrieval(query_bundle, nodes)

    def _settings(self) -> dict[str, Any]:
        return {
            "targets": self.targets,
            "policy": self._policy,
            "strategy": self._strategy,
            "callback_manager": self.callback_manager,
            "object_map": self.object_map,
            "verbose": self._verbose,
        }
