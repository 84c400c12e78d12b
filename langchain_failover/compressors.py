"""LangChain's rerankers among the targets: what they did, told by the documents they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import run_in_executor

from failover_core.errors import ConfigurationError, MalformedResponseError
from failover_core.reranking import RankedDocument, own
from langchain_failover.documents import checked_documents, checked_query, takes, with_limit

_INDEX = "_failover_index"
_SCORE = "relevance_score"


@dataclass(frozen=True, slots=True)
class Compression:
    """A request to rerank, as it may go to several rerankers of LangChain.

    Attributes:
        documents: to rank.
        query: to rank them by.
        callbacks: for the runs that a reranker makes.
        count: documents wanted; a reranker's own limit gives way to it.
    """

    documents: list[Document]
    query: str
    callbacks: Callbacks
    count: int

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
        return cls(given, checked_query(query, of=owner), callbacks, top_n or len(given))

    @property
    def texts(self) -> list[str]:
        """The texts of the documents."""
        return [document.page_content for document in self.documents]

    def by(self, child: BaseDocumentCompressor) -> list[RankedDocument]:
        """Return what a reranker makes of the documents."""
        marked = Marked(self.documents)
        return marked.ranked(self._call(type(child).compress_documents, child, marked)())

    async def aby(self, child: BaseDocumentCompressor) -> list[RankedDocument]:
        """Return what a reranker makes of the documents."""
        marked = Marked(self.documents)
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
        return partial(method, with_limit(child, self.count), marked.copies, self.query, **heard)


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

        Where a reranker gives no scores, its order counts: 1, 1/2, 1/3, …

        Raises:
            MalformedResponseError: a document cannot be told or has another text, or a score is
                no number.
        """
        returned = checked_documents(answer, of="reranker")
        if all(_SCORE in document.metadata for document in returned):
            scores = [document.metadata[_SCORE] for document in returned]
        else:
            scores = [1 / place for place in range(1, len(returned) + 1)]
        try:
            return [
                RankedDocument(self._index_of(document), float(score))
                for document, score in zip(returned, scores, strict=True)
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
