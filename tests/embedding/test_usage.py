"""Tokens of embeddings are charged to the target that embedded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from failover_core import Router, Target
from failover_core.clients import InfinityClient
from failover_core.embedding import Embedder, Kind
from failover_core.testing import FaultServer


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_server_says_an_answer_cost_is_charged(
    server: FaultServer,
    is_async: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    client = InfinityClient(server.url, model="m")
    router = Router([Target(client, name="a", price=(2.0, 0.0))])
    embedder = Embedder(router.begin, router.targets, verify="declared", batch_size=2)
    texts = ["one two three", "four five", "six"]

    if is_async:
        asyncio.run(embedder.aembed(texts, Kind.PASSAGE))
    else:
        embedder.embed(texts, Kind.PASSAGE)

    found = router.status()["a"]
    assert found.tokens > 0
    assert found.spend == pytest.approx(found.tokens * 2.0 / 1e6)
