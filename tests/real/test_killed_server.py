"""A real server dies by SIGKILL while both frameworks work on it; nothing is lost."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from failover_core.events import EventKind
from failover_core.router import Router
from scripts.real_servers import EMBEDDING_MODEL, RERANK_MODEL, RealServer, RealServers
from tests.real.doors import Door, Ranking

pytestmark = pytest.mark.real


def test_no_text_is_lost_and_no_vector_differs(
    door: Door, real: RealServers, passages: list[str]
) -> None:
    primary, survivor = real.servers

    with killed_at_work(primary, answers=5):
        vectors = np.array(door.embed(passages), np.float32)

    assert cosines(vectors, embedded_by(survivor, passages)).min() > 0.9999
    assert_failed_over(door.embeddings.router)


def test_an_index_built_while_a_server_dies_answers_every_question(
    door: Door, real: RealServers, passages: list[str]
) -> None:
    with killed_at_work(real.servers[0], answers=5):
        best = door.index(passages)

    assert [best(passage) for passage in passages[::20]] == passages[::20]
    assert_failed_over(door.embeddings.router)


def test_questions_are_answered_while_a_server_dies(
    door: Door, real: RealServers, passages: list[str]
) -> None:
    best = door.index(passages[:100])

    with killed_at_work(real.servers[0], answers=20):
        answers = [best(passage) for passage in passages[:100]]

    assert answers == passages[:100]
    assert_failed_over(door.embeddings.router)


def test_every_ranking_is_the_survivors(door: Door, real: RealServers, passages: list[str]) -> None:
    primary, survivor = real.servers
    questions, documents = passages[:12], passages[12:32]

    with killed_at_work(primary, path="/rerank", answers=5):
        rankings = [door.rerank(question, documents) for question in questions]

    for question, ranking in zip(questions, rankings, strict=True):
        expected = ranked_by(survivor, question, documents)
        assert dict(ranking) == pytest.approx(dict(expected), abs=1e-5)
        assert [score for _, score in ranking] == sorted(dict(ranking).values(), reverse=True)
    assert_failed_over(door.reranker.router)


def test_work_returns_to_the_primary_when_it_is_back(
    door: Door, real: RealServers, passages: list[str]
) -> None:
    primary = real.servers[0]
    first, second = (str(target.name) for target in door.embeddings.router.targets)
    primary.kill()
    door.embed(passages[:5])
    assert door.embeddings.router.status()[second].requests

    real.ready()
    door.embeddings.router.reset()
    door.embed(passages[:5])

    status = door.embeddings.router.status()
    assert (status[first].requests, status[second].requests) == (1, 0)


@contextmanager
def killed_at_work(
    server: RealServer, *, answers: int, path: str = "/embeddings"
) -> Iterator[None]:
    """Kill the server when it has given this many more answers on the path."""
    done = threading.Event()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        enough = answered(client, path) + answers

        def kill() -> None:
            while not done.wait(0.02):
                if answered(client, path) >= enough:
                    server.kill()
                    return

        executioner = threading.Thread(target=kill)
        executioner.start()
        try:
            yield
        finally:
            done.set()
            executioner.join()
    assert not server.alive, "the work was done before the server could be killed"


def answered(server: httpx.Client, path: str) -> int:
    """Return how often the server has answered a request to the path with 2xx."""
    count = re.search(
        rf'http_requests_total{{handler="{path}".*"2xx"}} (\S+)', server.get("/metrics").text
    )
    return int(float(count[1])) if count else 0


def embedded_by(server: RealServer, texts: Sequence[str]) -> NDArray[np.float32]:
    body = {"model": EMBEDDING_MODEL, "input": list(texts)}
    answer = httpx.post(f"{server.url}/embeddings", json=body, timeout=120).json()
    return np.array([item["embedding"] for item in answer["data"]], np.float32)


def ranked_by(server: RealServer, query: str, documents: Sequence[str]) -> Ranking:
    body = {"model": RERANK_MODEL, "query": query, "documents": list(documents)}
    answer = httpx.post(f"{server.url}/rerank", json=body, timeout=120).json()
    return [(documents[item["index"]], item["relevance_score"]) for item in answer["results"]]


def cosines(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the cosine of each row with its counterpart; the shapes must be equal."""
    assert left.shape == right.shape
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return np.asarray((left * right).sum(axis=1) / norms, np.float32)


def assert_failed_over(router: Router) -> None:
    primary, survivor = router.targets
    status = router.status()
    moved = [event for event in router.events if event.kind is EventKind.FAILED_OVER]

    assert {(event.from_target, event.to_target) for event in moved} == {
        (primary.name, survivor.name)
    }
    assert status.failed == 0
    assert not any(target.in_flight for target in status.targets)
    assert all(target.requests for target in status.targets)
