"""Failover for LlamaIndex: LLMs, embeddings, rerankers and retrievers out of several each."""

from __future__ import annotations

try:
    import llama_index.core  # noqa: F401 - asked for first, to say what to install
except ImportError as error:
    message = 'llamaindex_failover needs llama-index-core; pip install "rag-failover[llamaindex]"'
    raise ImportError(message) from error

from failover_core import AllTargetsFailedError, FailoverPolicy, Target
from llamaindex_failover.embeddings import FailoverEmbedding
from llamaindex_failover.llms import FailoverLLM
from llamaindex_failover.paired_indexes import PairedIndexes
from llamaindex_failover.postprocessor import FailoverRerank
from llamaindex_failover.retrievers import FailoverRetriever

__all__ = [
    "AllTargetsFailedError",
    "FailoverEmbedding",
    "FailoverLLM",
    "FailoverPolicy",
    "FailoverRerank",
    "FailoverRetriever",
    "PairedIndexes",
    "Target",
]
