"""LangChain's rerankers among the targets: what they did, told by the documents they return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import BaseDocumentCompressor, Document

from failover_core.errors import MalformedResponseError
from failover_core.reranking import RankedDocument

_INDEX = "_failover_index"
_SCORE = "relevance_score"
_LIMITS = ("top_n", "top_k")


class Marked:
    """Copies of documents that find their way back, whatever a reranker does with them.

    Attributes:
        copies: for the reranker; each carries its index in its metadata.
    """

    def __init__(self, documents: Sequence[Document]) -> None:
        self.copies = [
            document.model_copy(update={"metadata": _marked(document.metadata, index)})
            for index, document in enumerate(documents)
        ]

    def ranked(self, returned: Sequence[Document]) -> list[RankedDocument]:
        """Return indices and scores of the documents that came back.

        Where a reranker gives no scores, its order counts: 1, 1/2, 1/3, …

        Raises:
            MalformedResponseError: a document cannot be told, or a score is no number.
        """
        if all(_SCORE in document.metadata for document in returned):
            scores = [document.metadata[_SCORE] for document in returned]
        else:
            scores = [1 / place for place in range(1, len(returned) + 1)]
        try:
            return [
                RankedDocument(document.metadata[_INDEX], float(score))
                for document, score in zip(returned, scores, strict=True)
            ]
        except KeyError:
            message = "the reranker returned documents without the metadata they came with"
            raise MalformedResponseError(message) from None
        except (TypeError, ValueError):
            message = f"the reranker gave a {_SCORE} that is no number"
            raise MalformedResponseError(message) from None


def _marked(metadata: dict[str, Any], index: int) -> dict[str, Any]:
    # A score of an earlier reranker must not pass for one of this.
    kept = {name: value for name, value in metadata.items() if name != _SCORE}
    return {**kept, _INDEX: index}


def aligned(child: BaseDocumentCompressor, count: int) -> BaseDocumentCompressor:
    """Return a reranker that does not keep fewer than ``count`` documents by a limit of its own."""
    limits = {
        name: count
        for name in _LIMITS
        if isinstance(own := getattr(child, name, None), int) and own < count
    }
    return child.model_copy(update=limits) if limits else child
