"""Reranking: what is asked of a client, and what is done with its scores."""

from __future__ import annotations

from failover_core.reranking.copies import own
from failover_core.reranking.protocol import RankedDocument, RerankClient
from failover_core.reranking.reranker import Ranking, Reranker

__all__ = ["RankedDocument", "Ranking", "RerankClient", "Reranker", "own"]
