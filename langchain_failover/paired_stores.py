"""Vector stores of several embedding models that hold the same documents."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NoReturn

from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from pydantic import ValidationError

from failover_core.children import UnfitError, adapted_targets
from failover_core.engine.strategies import Strategy
from failover_core.errors import ConfigurationError, TargetError
from failover_core.in_step import Addition, Holder, InStep, Removal, Step, Steps
from failover_core.policy import FailoverPolicy
from langchain_failover.retrievers import FailoverRetriever

_NAMESPACE = uuid.UUID("8f0a3c52-6a0e-4c1f-9d55-3f1f6b7d2a10")


class PairedStores(VectorStore):
    """Two or more vector stores, each of its own embedding model, that are kept in step.

    What is added goes to each store under the same ids and is embedded by each one's own model.
    What is searched comes from the first store that can answer. LangChain's ``index()`` takes it
    as its vector store.

    A store that fails is owed what it missed, and gets it with the next change or by ``repair``,
    while the others go on. Documents that a store has already are not added to it again.

    Example:
        >>> paired = PairedStores([ours, theirs])
        >>> paired.add_documents(documents)
        >>> retriever = paired.as_retriever(k=3)

    Args:
        stores: vector stores, or ``Target(store, name=…)``, the preferred one first. They should
            have ``get_by_ids``; in one that has not, a document that is added twice must replace
            its older self.

    Raises:
        ConfigurationError: there are fewer than two, or one is no vector store.
    """

    def __init__(self, stores: Iterable[Any]) -> None:
        self._targets = adapted_targets(stores, _adapted, owner=type(self).__name__)
        self._in_step = InStep(self._targets, _Documents, owner=type(self).__name__)

    @property
    def lacking(self) -> dict[str, list[str]]:
        """By the name of a store, the ids of documents that it may lack; empty in step."""
        return self._in_step.lacking

    @property
    def surplus(self) -> dict[str, list[str]]:
        """By the name of a store, the ids of documents that it may still have; empty in step."""
        return self._in_step.surplus

    def add_documents(
        self, documents: list[Document], *, ids: Sequence[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add documents to every store, or replace those of the same ids.

        Args:
            documents: to be added.
            ids: of them. Default: their own; a document without one gets one that its text and
                metadata make up, so that adding it a second time is no second document.
            **kwargs: for the stores' own ``add_documents``.

        Returns:
            The ids, in the order of the documents.

        Raises:
            OutOfStepError: a store failed; it says which one lacks what. The others have all.
            ConfigurationError: there are not as many ids as documents.
        """
        names = _ids_of(documents, ids)
        self._in_step.make(Addition(dict(zip(names, documents, strict=True)), kwargs))
        return names

    async def aadd_documents(
        self, documents: list[Document], *, ids: Sequence[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Do what ``add_documents`` does."""
        names = _ids_of(documents, ids)
        await self._in_step.amake(Addition(dict(zip(names, documents, strict=True)), kwargs))
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents from every store; those that are not there are no error.

        Args:
            ids: of the documents.
            **kwargs: for the stores' own ``delete``.

        Raises:
            OutOfStepError: a store failed; it says which one still has what.
            ConfigurationError: there are no ids.
        """
        self._in_step.make(_removal(ids, kwargs))
        return True

    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Do what ``delete`` does."""
        await self._in_step.amake(_removal(ids, kwargs))
        return True

    def repair(self, ids: Iterable[str] = ()) -> None:
        """Bring every store into step.

        Args:
            ids: of documents that are to be compared, too: a store that lacks one gets it from
                the first store that has it. So a new store is filled from an older one, and what
                another process left undone is made up for.

        Raises:
            OutOfStepError: a store failed again.
        """
        self._in_step.repair(ids)

    async def arepair(self, ids: Iterable[str] = ()) -> None:
        """Do what ``repair`` does."""
        await self._in_step.arepair(ids)

    def as_retriever(  # type: ignore[override]
        self,
        *,
        k: int | None = None,
        policy: FailoverPolicy | dict[str, Any] | None = None,
        strategy: str | Strategy = "priority",
        **kwargs: Any,
    ) -> FailoverRetriever:
        """Return a retriever that asks the first store that can answer.

        Args:
            k: documents to return at the most; None leaves it to each store.
            policy: see ``FailoverPolicy``.
            strategy: see ``failover_core.Router``.
            **kwargs: for the stores' own ``as_retriever``, such as ``search_type``.
        """
        retrievers = [
            replace(target, client=target.client.as_retriever(**kwargs)) for target in self._targets
        ]
        return FailoverRetriever(targets=retrievers, k=k, policy=policy, strategy=strategy)

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return documents most similar to a query, from the first store that can answer.

        Raises:
            AllTargetsFailedError: no store could answer.
        """
        return self._retriever.invoke(query, k=k, **kwargs)

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return what ``similarity_search`` returns."""
        return await self._retriever.ainvoke(query, k=k, **kwargs)

    @classmethod
    def from_texts(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a pair is made of stores, not of one embedding.

        Raises:
            ConfigurationError: always.
        """
        message = f"{cls.__name__}: build each store, pass them all, and call add_texts"
        raise ConfigurationError(message)

    @cached_property
    def _retriever(self) -> FailoverRetriever:
        return self.as_retriever()


class _Documents(Holder):
    store: VectorStore

    def held(self, ids: Collection[str]) -> Steps[dict[str, Document | None] | None]:
        try:
            documents = yield Step(self.store, "get_by_ids", list(ids))
        except NotImplementedError:
            return None
        except ValidationError:  # of Chroma, to a document without metadata
            return (yield from self._held_in_halves(list(ids)))
        return {document.id: document for document in documents}

    def _held_in_halves(self, ids: list[str]) -> Steps[dict[str, Document | None]]:
        """Return what the store has of some items, among them one that it cannot give back."""
        if len(ids) == 1:
            return {ids[0]: None}
        middle = len(ids) // 2
        first = yield from self.held(ids[:middle])
        second = yield from self.held(ids[middle:])
        return (first or {}) | (second or {})

    def add(self, items: Mapping[str, Document], options: Mapping[str, Any]) -> Steps[None]:
        copies = [
            document.model_copy(update={"id": one}, deep=True) for one, document in items.items()
        ]
        yield Step(self.store, "add_documents", copies, ids=list(items), **options)

    def delete(self, ids: list[str], options: Mapping[str, Any]) -> Steps[None]:
        is_done = yield Step(self.store, "delete", ids, **options)
        if is_done is False:
            message = f"the store says that it did not delete {len(ids)} documents"
            raise TargetError(message)

    def are_alike(self, held: Document | None, item: Document) -> bool:
        return held is not None and (held.page_content, held.metadata) == (
            item.page_content,
            item.metadata,
        )


def _removal(ids: Sequence[str] | None, options: dict[str, Any]) -> Removal:
    if ids is None or isinstance(ids, str):
        message = "PairedStores: delete needs a list of ids"
        raise ConfigurationError(message)
    return Removal(dict.fromkeys(ids), options)


def _ids_of(documents: Sequence[Document], given: Sequence[str] | None) -> list[str]:
    if given is not None and len(given) != len(documents):
        message = f"PairedStores: {len(given)} ids for {len(documents)} documents"
        raise ConfigurationError(message)
    seen: Counter[str] = Counter()
    ids = []
    for place, document in enumerate(documents):
        one = document.id if given is None else given[place]
        if not one:
            content = _content_of(document)
            # Of documents that are alike in all, each is one of its own, today and next time.
            one = str(uuid.uuid5(_NAMESPACE, f"{content} {seen[content]}"))
            seen[content] += 1
        ids.append(one)
    return ids


def _content_of(document: Document) -> str:
    content = [document.page_content, document.metadata]
    written = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(written.encode()).hexdigest()


def _adapted(store: Any) -> VectorStore:
    if isinstance(store, VectorStore):
        return store
    remedy = "pass a vector store"
    raise UnfitError(remedy)
