"""Embedding: what is asked of a client, and what is done with its vectors."""

from __future__ import annotations

import failover_core  # noqa: F401 - all of it, even if another thread is still importing it
from failover_core.embedding.cache import CacheStatistics, VectorCache
from failover_core.embedding.embedder import Embedder
from failover_core.embedding.protocol import EmbeddingClient, Kind
from failover_core.embedding.space import EmbeddingSpace
from failover_core.embedding.verification import TOLERANCE, Vectors, Verify

__all__ = [
    "TOLERANCE",
    "CacheStatistics",
    "Embedder",
    "EmbeddingClient",
    "EmbeddingSpace",
    "Kind",
    "VectorCache",
    "Vectors",
    "Verify",
]
