"""The cache of FailoverEmbeddings: what is known is not sent, through copies and restarts too."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
from langchain_core.vectorstores import InMemoryVectorStore

from failover_core.embedding import CacheStatistics, VectorCache
from failover_core.errors import ConfigurationError
from failover_core.testing import FaultServer
from failover_core.testing.fixtures import fault_server, fault_servers
from langchain_failover import FailoverEmbeddings

__all__ = ["fault_server", "fault_servers"]

TEXTS = ["Cats sleep.", "Ships sail.", "Bread rises."]


def pool(*servers: FaultServer, **settings: Any) -> FailoverEmbeddings:
    return FailoverEmbeddings.from_urls([one.url for one in servers], model="m", **settings)


def test_a_second_index_of_the_same_texts_costs_nothing(fault_server: FaultServer) -> None:
    cache = VectorCache.in_memory()
    embeddings = pool(fault_server, cache=cache)
    InMemoryVectorStore.from_texts(TEXTS, embeddings)
    asked = fault_server.served
    InMemoryVectorStore.from_texts(TEXTS, embeddings)
    assert fault_server.served == asked
    assert cache.statistics == CacheStatistics(hits=3, misses=3)
    assert embeddings.cache is cache


async def test_a_saved_space_and_a_file_answer_while_every_server_is_dead(
    fault_server: FaultServer, tmp_path: Path
) -> None:
    paths = {"cache": tmp_path / "vectors.db", "space": tmp_path / "space.json"}
    embeddings = pool(fault_server, cache=paths["cache"])
    vectors, query = embeddings.embed_documents(TEXTS), embeddings.embed_query("ships")
    embeddings.embedding_space().save(paths["space"])
    fault_server.stop()

    later = pool(fault_server, **paths)
    assert later.embed_documents(TEXTS) == vectors
    assert await later.aembed_documents(TEXTS) == vectors
    assert await later.aembed_query("ships") == query


def test_copies_share_the_cache(fault_server: FaultServer) -> None:
    embeddings = pool(fault_server, cache=True)
    embeddings.embed_documents(TEXTS)
    for other in (copy.deepcopy(embeddings), embeddings.model_copy()):
        assert other.cache is embeddings.cache
        assert other.router is embeddings.router


def test_a_pickle_opens_the_same_file(fault_server: FaultServer, tmp_path: Path) -> None:
    embeddings = pool(fault_server, cache=str(tmp_path / "vectors.db"))
    vectors = embeddings.embed_documents(TEXTS)
    later = pickle.loads(pickle.dumps(embeddings))  # noqa: S301 - ours
    assert later.embed_documents(TEXTS) == vectors
    assert later.cache.statistics.hits == len(TEXTS)  # it knows whose they are


def test_what_is_no_cache_is_refused(fault_server: FaultServer) -> None:
    with pytest.raises(ConfigurationError, match="cache is dict"):
        pool(fault_server, cache={})
    with pytest.raises(ConfigurationError, match="only the canary tells"):
        pool(fault_server, cache=True, verify="off")
