"""What the tests of ingestion share; its functions run in other processes too."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llama_index.core import Document
from llama_index.core.schema import BaseNode, MetadataMode

from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import Server, sent_to, served_vectors


def documents(count: int) -> list[Document]:
    """Return documents of one sentence each."""
    return [
        Document(text=f"The boat number {number} sails at dawn.", id_=f"document {number}")
        for number in range(count)
    ]


def text_of(node: BaseNode) -> str:
    """Return the text that a node is embedded by."""
    return node.get_content(metadata_mode=MetadataMode.EMBED)


def check(nodes: Sequence[BaseNode], texts: Sequence[str]) -> None:
    """Check that each text is embedded, none twice, and none with another one's vector."""
    assert Counter(map(text_of, nodes)) == Counter(texts)
    assert len({node.node_id for node in nodes}) == len(texts)
    assert [node.embedding for node in nodes] == served_vectors(map(text_of, nodes))


def check_sent(
    servers: Sequence[Server], texts: Sequence[str], *, lost_requests: int, batch: int
) -> None:
    """Check that no more was sent again than the dying server owed."""
    for server in servers:
        assert set(sent_to(server, among=texts).values()) <= {1}
    assert set(sent_to(*servers, among=texts)) == set(texts)
    assert sent_to(*servers, among=texts).total() <= len(texts) + lost_requests * batch


@contextmanager
def dying_after(server: Server, requests: int) -> Iterator[None]:
    """Kill a server within the ``with`` block, once it has had so many requests."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            if len(server.requests) >= requests:
                server.stop()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def embed_in_process(pool: FailoverEmbedding, texts: list[str]) -> tuple[Any, str]:
    """Return, from the process this runs in, vectors and the identity of the pool."""
    vectors = pool.get_text_embedding_batch(texts)
    pool.router.close()
    return vectors, str(pool.to_dict())
