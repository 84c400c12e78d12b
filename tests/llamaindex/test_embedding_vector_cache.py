"""``FailoverEmbedding(cache=…)``: what is known is not sent, apart from LlamaIndex's own cache."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, VectorStoreIndex

from failover_core import ConfigurationError
from failover_core.embedding import CacheStatistics, VectorCache
from failover_core.testing import FaultServer
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import TEXTS, sent_to, served_vectors


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def pool(server: FaultServer, **settings: Any) -> FailoverEmbedding:
    return FailoverEmbedding.from_urls(server.url, model="m", **settings)


def test_an_index_of_known_texts_costs_nothing(server: FaultServer) -> None:
    cache = VectorCache.in_memory()
    embedding = pool(server, cache=cache)
    documents = [Document(text=text) for text in TEXTS]
    for _ in range(2):
        index = VectorStoreIndex.from_documents(documents, embed_model=embedding)
        assert len(index.index_struct.nodes_dict) == len(TEXTS)
    assert set(sent_to(server, among=TEXTS).values()) == {1}
    assert cache.statistics == CacheStatistics(hits=len(TEXTS), misses=len(TEXTS))


def test_both_doors_and_both_kinds_use_it(server: FaultServer, tmp_path: Path) -> None:
    embedding = pool(server, cache=tmp_path / "vectors.db")
    for _ in range(2):
        assert embedding.get_text_embedding_batch(TEXTS) == served_vectors(TEXTS)
        got = asyncio.run(embedding.aget_text_embedding_batch(TEXTS))
        assert got == served_vectors(TEXTS)
        assert [embedding.get_query_embedding(TEXTS[0])] == served_vectors(TEXTS[:1])
    assert sent_to(server, among=TEXTS)[TEXTS[0]] == 2  # as a passage and as a query
    assert sent_to(server, among=TEXTS)[TEXTS[1]] == 1


def test_copies_share_it_and_other_sizes_of_batches_too(
    server: FaultServer, tmp_path: Path
) -> None:
    embedding = pool(server, cache=tmp_path / "vectors.db")
    assert copy.deepcopy(embedding).cache is embedding.cache
    embedding.get_text_embedding_batch(TEXTS)
    embedding.embed_batch_size = 2
    embedding.get_text_embedding_batch(TEXTS)
    later = pickle.loads(pickle.dumps(embedding))  # noqa: S301 - ours
    assert later.get_text_embedding_batch(TEXTS) == served_vectors(TEXTS)
    assert set(sent_to(server, among=TEXTS).values()) == {1}


def test_what_is_no_cache_is_refused(server: FaultServer) -> None:
    with pytest.raises(ConfigurationError, match="cache is dict"):
        pool(server, cache={})
    with pytest.raises(ConfigurationError, match="only the canary tells"):
        pool(server, cache=True, verify="declared")
    assert "cache" not in pool(server, cache=True).to_dict()
