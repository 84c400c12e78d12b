"""LangChain's rerankers among the targets: what they did, told by the documents they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import run_in_executor

from failover_core.errors import ConfigurationError, MalformedResponseError
from failover_core.reranking import RankedDocument, by_order, own
from langchain_failover.documents import checked_documents, checked_query, takes, with_limit

_INDEX = "_failover_index"
_SCORE = "relevance_score"


@dataclass(frozen=True)
class Compression:
    """A request to rerank, as it may go to clients and to rerankers of LangChain.

    Attributes:
        documents: to rank.
        query: to rank them by.
        callbacks: for the runs that a reranker makes.
        top_n: documents wanted, to which a reranker's own limit gives way; None is all of them.
    """

    documents: list[Document]
    query: str
    callbacks: Callbacks
    top_n: int | None

    @classmethod
    def of(
        cls, documents: Any, query: Any, callbacks: Callbacks, *, top_n: int | None, owner: str
    ) -> Self:
        """Return the request that a caller made.

        Args:
            documents: to rank.
            query: to rank them by.
            callbacks: for the runs that a reranker makes.
            top_n: documents wanted; None is all of them.
            owner: the class that is called, for messages.

        Raises:
            ConfigurationError: they are not Documents, or the query no text.
        """
        if not isinstance(documents, Iterable):
            message = f"{owner}: documents is {type(documents).__name__}; give a list of Documents"
            raise ConfigurationError(message)
        given = list(documents)
        for index, document in enumerate(given):
            if not isinstance(document, Document):
                what = type(document).__name__
                message = f"{owner}: documents[{index}] is {what}; it must be a Document"
                raise ConfigurationError(message)
        return cls(given, checked_query(query, of=owner), callbacks, top_n)

    def __len__(self) -> int:
        return len(self.documents)

    @cached_property
    def texts(self) -> list[str]:
        """The texts of the documents."""
        return [document.page_content for document in self.documents]

    def ask(self, client: Any, piece: range) -> Sequence[RankedDocument]:
        """Return what a client or a reranker makes of some of the documents."""
        if isinstance(client, BaseDocumentCompressor):
            return self._by(client, piece)
        texts = self.texts[piece.start : piece.stop]
        return client.rerank(self.query, texts, self.top_n)  # type: ignore[no-any-return]

    async def aask(self, client: Any, piece: range) -> Sequence[RankedDocument]:
        """Return what a client or a reranker makes of some of the documents."""
        if isinstance(client, BaseDocumentCompressor):
            return await self._aby(client, piece)
        texts = self.texts[piece.start : piece.stop]
        return await client.arerank(self.query, texts, self.top_n)  # type: ignore[no-any-return]

    def _by(self, child: BaseDocumentCompressor, piece: range) -> list[RankedDocument]:
        marked = Marked(self.documents[piece.start : piece.stop])
        return marked.ranked(self._call(type(child).compress_documents, child, marked)())

    async def _aby(self, child: BaseDocumentCompressor, piece: range) -> list[RankedDocument]:
        marked = Marked(self.documents[piece.start : piece.stop])
        if type(child).acompress_documents is BaseDocumentCompressor.acompress_documents:
            # The base class's hands callbacks over, whether they are taken or not.
            call = self._call(type(child).compress_documents, child, marked)
            return marked.ranked(await run_in_executor(None, call))
        call = self._call(type(child).acompress_documents, child, marked)
        return marked.ranked(await call())

    def _call(
        self, method: Callable[..., Any], child: BaseDocumentCompressor, marked: Marked
    ) -> Callable[[], Any]:
        heard = {"callbacks": self.callbacks} if takes(method, "callbacks") else {}
        limited = with_limit(child, self.top_n or len(marked.copies))
        return partial(method, limited, marked.copies, self.query, **heard)


class Marked:
    """Copies of documents that find their way back, whatever a reranker does with them.

    Attributes:
        copies: for the reranker; each carries its index in its metadata.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self._documents = documents
        self.copies = [
            document.model_copy(update={"metadata": _marked(document.metadata, index)})
            for index, document in enumerate(documents)
        ]

    def ranked(self, answer: Any) -> list[RankedDocument]:
        """Return indices and scores of the documents that came back.

        Where a reranker gives no scores, its order counts.

        Raises:
            MalformedResponseError: a document cannot be told or has another text, or a score is
                no number.
        """
        returned = checked_documents(answer, of="reranker")
        indices = [self._index_of(document) for document in returned]
        if not all(_SCORE in document.metadata for document in returned):
            return by_order(indices)
        try:
            return [
                RankedDocument(index, float(document.metadata[_SCORE]))
                for index, document in zip(indices, returned, strict=True)
            ]
        except (TypeError, ValueError):
            message = f"the reranker gave a {_SCORE} that is no number"
            raise MalformedResponseError(message) from None

    def _index_of(self, document: Document) -> int:
        index = document.metadata.get(_INDEX)
        if not isinstance(index, int) or not 0 <= index < len(self._documents):
            message = "the reranker returned documents without the metadata they came with"
            raise MalformedResponseError(message)
        if document.page_content != self._documents[index].page_content:
            message = (
                f"the reranker changed the text of document {index}; what extracts or splits "
                "belongs beside a FailoverReranker, in a DocumentCompressorPipeline"
            )
            raise MalformedResponseError(message)
        return index


def _marked(metadata: dict[str, Any], index: int) -> dict[str, Any]:
    # A score of an earlier reranker must not pass for one of this.
    kept = {name: own(value) for name, value in metadata.items() if name != _SCORE}
    return {**kept, _INDEX: index}
