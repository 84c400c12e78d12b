"""Reranking: what is asked of a client, and what is done with its scores."""

from __future__ import annotations

import failover_core  # noqa: F401 - all of it, even if another thread is still importing it
from failover_core.reranking.calibration import Calibration
from failover_core.reranking.copies import own
from failover_core.reranking.groups import Calibrations, Groups, Normalize
from failover_core.reranking.protocol import RankedDocument, RankRequest, RerankClient, by_order
from failover_core.reranking.ranking import Ranking
from failover_core.reranking.reranker import OnExhausted, Reranker

__all__ = [
    "Calibration",
    "Calibrations",
    "Groups",
    "Normalize",
    "OnExhausted",
    "RankRequest",
    "RankedDocument",
    "Ranking",
    "RerankClient",
    "Reranker",
    "by_order",
    "own",
]
