"""How relevant a document is to a query, by the words and word parts that they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from failover_core.testing.language.vectors import embed
from failover_core.testing.language.words import weight, words

_DIMENSION = 256


def relevance(query: str, documents: Sequence[str], model: str) -> NDArray[np.float64]:
    """Score documents as a cross-encoder does: each pair by itself.

    The logit is six times the share of the query's words that the document has (repetitions
    saturating as in BM25), plus four times the cosine of the two texts, minus four, so that a
    sigmoid of it uses most of its range.

    Returns:
        An array of shape (documents,) of logits; higher is more relevant.
    """
    vectors = embed([query, *documents], model, _DIMENSION)
    cosines = vectors[1:] @ vectors[0]
    asked = {word: weight(word) for word in words(query)}
    return np.array(
        [
            6.0 * _coverage(asked, document) + 4.0 * cosine - 4.0
            for document, cosine in zip(documents, cosines, strict=True)
        ]
    )


def _coverage(asked: dict[str, float], document: str) -> float:
    counts = Counter(words(document))
    found = sum(weight * counts[word] / (counts[word] + 0.5) for word, weight in asked.items())
    return found / (sum(asked.values()) or 1.0)
