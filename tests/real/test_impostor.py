"""A real server with another model of the same name and dimension never serves a vector."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest

from failover_core import EmbeddingSpaceMismatchError
from scripts.real_servers import EMBEDDING_MODEL, RealServer, RealServers
from tests.real.doors import Door, LangChainDoor

pytestmark = pytest.mark.real

TEXTS = ["The lighthouse stood on an island.", "Bread rises because of yeast."]


def start_as_impostor(server: RealServer) -> None:
    server.become(is_impostor=True)
    server.start()
    server.wait_until_ready()


def vectors_of(server: RealServer) -> np.ndarray:
    asked = {"model": EMBEDDING_MODEL, "input": TEXTS}
    answer = httpx.post(f"{server.url}/embeddings", json=asked, timeout=60).json()
    return np.array([row["embedding"] for row in answer["data"]])


def test_the_impostor_has_the_name_and_the_dimension_but_not_the_vectors(
    real: RealServers,
) -> None:
    right = vectors_of(real.servers[0])
    start_as_impostor(real.servers[1])
    wrong = vectors_of(real.servers[1])

    assert right.shape == wrong.shape
    assert (right * wrong).sum(axis=1).max() < 0.99


def test_the_impostor_never_serves_a_vector(door: Door, real: RealServers) -> None:
    start_as_impostor(real.servers[1])
    right = vectors_of(real.servers[0])
    assert np.allclose(door.embed(TEXTS), right, atol=1e-4)

    real.servers[0].kill()
    with pytest.raises(EmbeddingSpaceMismatchError):
        door.embed(TEXTS)

    real.ready()
    door.embeddings.router.reset()
    assert np.allclose(door.embed(TEXTS), right, atol=1e-4)


def test_a_server_that_comes_back_as_an_impostor_never_serves_a_vector(
    door: Door, real: RealServers
) -> None:
    right = vectors_of(real.servers[1])
    assert np.allclose(door.embed(TEXTS), right, atol=1e-4)

    start_as_impostor(real.servers[0])
    for _ in range(10):
        assert np.allclose(door.embed(TEXTS), right, atol=1e-4)

    mismatches = [
        event for event in door.embeddings.router.events if event.kind == "space_mismatch"
    ]
    assert mismatches


def test_a_saved_space_verifies_the_backup_while_the_primary_is_down(
    real: RealServers, tmp_path: Path
) -> None:
    first = LangChainDoor(real.urls, None)
    right = np.array(first.embed(TEXTS))
    first.embeddings.embedding_space().save(tmp_path / "space.json")
    real.servers[0].kill()

    backed_up = LangChainDoor(real.urls, None, space=tmp_path / "space.json")
    assert np.allclose(backed_up.embed(TEXTS), right, atol=1e-4)

    start_as_impostor(real.servers[1])
    with pytest.raises(EmbeddingSpaceMismatchError):
        LangChainDoor(real.urls, None, space=tmp_path / "space.json").embed(TEXTS)
