"""Embedding: what is asked of a client, and what is done with its vectors."""

from __future__ import annotations

from failover_core.embedding.embedder import Embedder
from failover_core.embedding.protocol import EmbeddingClient, Kind

__all__ = ["Embedder", "EmbeddingClient", "Kind"]
