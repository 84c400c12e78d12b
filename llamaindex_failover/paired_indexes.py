"""Indexes of several embedding models that hold the same nodes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.schema import BaseNode

from failover_core import Strategy
from failover_core.children import adapted_targets
from failover_core.in_step import Addition, Change, Holder, InStep, Removal, Step, Steps
from llamaindex_failover.components import Policy, instance_of
from llamaindex_failover.retrievers import FailoverRetriever


class PairedIndexes:
    """Two or more vector indexes, each of its own embedding model, that are kept in step.

    ``pip install "rag-failover[llamaindex]"``

    What is inserted goes into each index under the same ids and is embedded by each one's own
    model. An index that fails is owed what it missed, and gets it with the next change or by
    ``repair``, while the others go on. Nodes that an index has already are not inserted again.

    Example:
        >>> paired = PairedIndexes([ours, theirs])
        >>> paired.insert_nodes(SentenceSplitter()(documents))
        >>> retriever = paired.as_retriever(similarity_top_k=3)

    Args:
        indexes: of the class ``VectorStoreIndex``, or ``Target(index, name=…)``, the preferred one
            first. Each needs a document store of its own, as it has by default. Where neither
            that nor the vector store tells which nodes there are, a node that is inserted twice
            must replace its older self.

    Raises:
        ConfigurationError: there are fewer than two, or one is no such index.
    """

    def __init__(self, indexes: Iterable[Any]) -> None:
        adapt = instance_of(VectorStoreIndex, "give a VectorStoreIndex")
        self._targets = adapted_targets(indexes, adapt, owner=type(self).__name__)
        self._in_step = InStep(self._targets, _Nodes, owner=type(self).__name__)

    @property
    def lacking(self) -> dict[str, list[str]]:
        """By the name of an index, the ids of nodes that it may lack; empty in step."""
        return self._in_step.lacking

    @property
    def surplus(self) -> dict[str, list[str]]:
        """By the name of an index, the ids of nodes and documents that it may still have."""
        return self._in_step.surplus

    def insert_nodes(self, nodes: Sequence[BaseNode], **options: Any) -> None:
        """Insert nodes into every index, or replace those of the same ids.

        Split documents once and keep the nodes: a splitter gives new ids each time.

        Args:
            nodes: to be inserted; each index gets copies of its own.
            **options: for the indexes' own ``insert_nodes``.

        Raises:
            OutOfStepError: an index failed; it says which one lacks what. The others have all.
        """
        self._in_step.make(Addition(_by_id(nodes), options))

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **options: Any) -> None:
        """Do what ``insert_nodes`` does."""
        await self._in_step.amake(Addition(_by_id(nodes), options))

    def delete_nodes(self, node_ids: Iterable[str], **options: Any) -> None:
        """Delete nodes from every index; those that are not there are no error.

        Args:
            node_ids: of the nodes.
            **options: for the vector stores' own ``delete_nodes``.

        Raises:
            OutOfStepError: an index failed; it says which one still has what.
        """
        self._in_step.make(Removal(dict.fromkeys(node_ids), options))

    async def adelete_nodes(self, node_ids: Iterable[str], **options: Any) -> None:
        """Do what ``delete_nodes`` does."""
        await self._in_step.amake(Removal(dict.fromkeys(node_ids), options))

    def delete_ref_doc(self, ref_doc_id: str, **options: Any) -> None:
        """Delete the nodes of a document from every index, and from its document store.

        Args:
            ref_doc_id: of the document that the nodes were split from.
            **options: for the vector stores' own ``delete``.

        Raises:
            OutOfStepError: an index failed; it says which one still has what.
        """
        self._in_step.make(_RemovalOfDocument({ref_doc_id: None}, options))

    async def adelete_ref_doc(self, ref_doc_id: str, **options: Any) -> None:
        """Do what ``delete_ref_doc`` does."""
        await self._in_step.amake(_RemovalOfDocument({ref_doc_id: None}, options))

    def repair(self, node_ids: Iterable[str] = ()) -> None:
        """Bring every index into step.

        Args:
            node_ids: of nodes that are to be compared, too: an index that lacks one gets it from
                the first index that has it. So a new index is filled from an older one, and what
                another process left undone is made up for.

        Raises:
            OutOfStepError: an index failed again.
        """
        self._in_step.repair(node_ids)

    async def arepair(self, node_ids: Iterable[str] = ()) -> None:
        """Do what ``repair`` does."""
        await self._in_step.arepair(node_ids)

    def as_retriever(
        self, *, policy: Policy = None, strategy: str | Strategy = "priority", **options: Any
    ) -> FailoverRetriever:
        """Return a retriever that asks the first index that can answer.

        A retriever of LlamaIndex knows the nodes that its index has when it is built, so build it
        after they have been inserted.

        Args:
            policy: a FailoverPolicy or a dict of its settings.
            strategy: in which order indexes are considered.
            **options: for the indexes' own ``as_retriever``, such as ``similarity_top_k``.
        """
        retrievers = [
            replace(target, client=target.client.as_retriever(**options))
            for target in self._targets
        ]
        return FailoverRetriever(retrievers, policy=policy, strategy=strategy)


class _Nodes(Holder):
    store: VectorStoreIndex

    @property
    def keeps_documents(self) -> bool:
        """Whether the nodes are in the index's own document store, not in its vector store."""
        return not self.store.vector_store.stores_text or self.store._store_nodes_override

    def held(self, ids: Collection[str]) -> Steps[dict[str, BaseNode] | None]:
        if self.keeps_documents:
            there = set(self.store.index_struct.nodes_dict.values())
            wanted = [one for one in ids if one in there]
            nodes = yield Step(self.store.docstore, "get_nodes", wanted, raise_error=False)
        else:
            try:
                nodes = yield Step(self.store.vector_store, "get_nodes", list(ids))
            except NotImplementedError:
                return None
        return _by_id(nodes)

    def add(self, items: Mapping[str, BaseNode], options: Mapping[str, Any]) -> Steps[None]:
        # Without the vectors, which may be of another index's model.
        copies = [node.model_copy(update={"embedding": None}, deep=True) for node in items.values()]
        yield Step(self.store, "insert_nodes", copies, **options)

    def delete(self, ids: list[str], options: Mapping[str, Any]) -> Steps[None]:
        yield Step(self.store, "delete_nodes", ids, delete_from_docstore=True, **options)

    def are_alike(self, held: BaseNode, item: BaseNode) -> bool:
        return held.hash == item.hash


class _RemovalOfDocument(Change):
    is_removal = True

    def steps(self, holder: _Nodes) -> Steps[None]:
        for ref_doc_id in self.items:
            if holder.keeps_documents:
                yield from self._from_documents(holder, ref_doc_id)
            else:
                yield Step(holder.store, "delete_ref_doc", ref_doc_id, **self.options)

    def _from_documents(self, holder: _Nodes, ref_doc_id: str) -> Steps[None]:
        # The index's own method fails on nodes that were deleted one by one, or in a first try.
        documents = holder.store.docstore
        document = yield Step(documents, "get_ref_doc_info", ref_doc_id)
        if document is not None:
            yield from Removal(dict.fromkeys(document.node_ids), self.options).steps(holder)
            yield Step(documents, "delete_ref_doc", ref_doc_id, raise_error=False)


def _by_id(nodes: Iterable[BaseNode]) -> dict[str, BaseNode]:
    return {node.node_id: node for node in nodes}
