"""A text embedding without a model: signed hashing of words and their character n-grams.

Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (2009): every feature
adds ±1 at places that a hash chooses, so texts that share features have a high cosine. The hash
is keyed by the model's name; another name is another vector space.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from failover_core.testing.language.words import weight, words

_PLACES = 4
_NGRAM_WEIGHT = 0.6
_FLOOR = 0.01  # so that no vector of few dimensions cancels out to zero


def embed(texts: Sequence[str], model: str, dimension: int) -> NDArray[np.float32]:
    """Embed texts.

    Args:
        texts: any number of texts; an empty one has a vector too, as it has with real models.
        model: whose vector space to embed into.
        dimension: of the vectors.

    Returns:
        An array of shape (texts, dimension), each row of length one and a function of its own
        text alone.
    """
    vectors = np.empty((len(texts), dimension), np.float32)
    for row, text in zip(vectors, texts, strict=True):
        counts = Counter(words(text) or [""])
        weights = [weight(word) * count**0.5 for word, count in counts.items()]
        row[:] = np.array(weights, np.float32) @ _rows(counts, model, dimension)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _rows(counts: Counter[str], model: str, dimension: int) -> NDArray[np.float32]:
    return np.stack([_word_vector(word, model, dimension) for word in counts])


@lru_cache(maxsize=16_384)
def _word_vector(word: str, model: str, dimension: int) -> NDArray[np.float32]:
    vector = np.full(dimension, _FLOOR, np.float32)
    key = blake2b(model.encode(), digest_size=16).digest()
    _add(vector, f"<{word}>", key, 1.0)
    grams = list(_ngrams(f"<{word}>"))
    for gram in grams:
        _add(vector, gram, key, _NGRAM_WEIGHT / len(grams) ** 0.5)
    return vector


def _ngrams(word: str) -> Iterator[str]:
    for size in (3, 4, 5):
        yield from (word[at : at + size] for at in range(len(word) - size + 1))


def _add(vector: NDArray[np.float32], feature: str, key: bytes, amount: float) -> None:
    digest = blake2b(feature.encode(), digest_size=4 * _PLACES, key=key).digest()
    for value in struct.unpack(f"<{_PLACES}I", digest):
        vector[(value >> 1) % len(vector)] += amount if value & 1 else -amount
