"""Failover for LangChain's chat models, embeddings, rerankers and retrievers."""

from __future__ import annotations

import langchain_failover._installed  # isort: skip  # noqa: F401 - before what it speaks for
from failover_core import AllTargetsFailedError, FailoverPolicy, Target
from langchain_failover.chat_models import FailoverChatModel
from langchain_failover.embeddings import FailoverEmbeddings
from langchain_failover.paired_stores import PairedStores
from langchain_failover.rerankers import FailoverReranker
from langchain_failover.retrievers import FailoverRetriever

__all__ = [
    "AllTargetsFailedError",
    "FailoverChatModel",
    "FailoverEmbeddings",
    "FailoverPolicy",
    "FailoverReranker",
    "FailoverRetriever",
    "PairedStores",
    "Target",
]
