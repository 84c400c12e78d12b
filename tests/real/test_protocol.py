"""The wire protocol that the Infinity client and the fault server speak is the real one."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from scripts.real_servers import DIMENSION, EMBEDDING_MODEL, RERANK_MODEL, RealServers

pytestmark = pytest.mark.real


@pytest.fixture
def server(real: RealServers) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=real.urls[0], timeout=60) as client:
        yield client


def embed(server: httpx.Client, texts: list[str], **options: Any) -> httpx.Response:
    body = {"model": EMBEDDING_MODEL, "input": texts} | options
    return server.post("/embeddings", json=body)


def test_embeddings_come_with_index_and_usage(server: httpx.Client) -> None:
    answer = embed(server, ["one", "two"]).json()

    assert answer.keys() == {"object", "data", "model", "usage", "id", "created"}
    assert answer["object"] == "list"
    assert answer["model"] == EMBEDDING_MODEL
    assert answer["usage"].keys() == {"prompt_tokens", "total_tokens"}
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert [item["object"] for item in answer["data"]] == ["embedding", "embedding"]
    assert [len(item["embedding"]) for item in answer["data"]] == [DIMENSION, DIMENSION]


def test_base64_vectors_are_little_endian_floats(server: httpx.Client) -> None:
    plain = embed(server, ["one"]).json()["data"][0]["embedding"]
    packed = embed(server, ["one"], encoding_format="base64").json()["data"][0]["embedding"]

    np.testing.assert_allclose(np.frombuffer(base64.b64decode(packed), "<f4"), plain, atol=1e-6)


def test_an_unknown_model_is_a_400_that_says_so(server: httpx.Client) -> None:
    answer = embed(server, ["one"], model="absent")

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"].startswith("Invalid model: Engine for model name `absent` not found.")
    assert (error["type"], error["param"], error["code"]) == (None, None, 400)


def test_a_model_of_another_kind_is_a_400_that_says_so(server: httpx.Client) -> None:
    answer = embed(server, ["one"], model=RERANK_MODEL)

    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("ModelNotDeployedError")


@pytest.mark.parametrize(("count", "problem"), [(0, "too_short"), (2049, "too_long")])
def test_a_batch_holds_1_to_2048_texts(server: httpx.Client, count: int, problem: str) -> None:
    answer = embed(server, ["one"] * count)

    assert answer.status_code == 422
    assert problem in {detail["type"] for detail in answer.json()["detail"]}


def test_the_paths_have_no_version_prefix(server: httpx.Client) -> None:
    answer = server.post("/v1/embeddings", json={"model": EMBEDDING_MODEL, "input": ["one"]})

    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_rerank_sorts_by_score_and_gives_the_index(server: httpx.Client) -> None:
    documents = ["a dog", "a cat", "an aeroplane"]
    body = {"model": RERANK_MODEL, "query": "a cat", "documents": documents}
    answer = server.post("/rerank", json=body).json()

    assert answer["object"] == "rerank"
    assert all(
        item.keys() == {"relevance_score", "index", "document"} for item in answer["results"]
    )
    scores = [item["relevance_score"] for item in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert sorted(item["index"] for item in answer["results"]) == [0, 1, 2]


def test_rerank_keeps_top_n(server: httpx.Client) -> None:
    body = {"model": RERANK_MODEL, "query": "a", "documents": ["a", "b", "c"], "top_n": 2}

    assert len(server.post("/rerank", json=body).json()["results"]) == 2


def test_nothing_to_rerank_is_a_422(server: httpx.Client) -> None:
    body = {"model": RERANK_MODEL, "query": "a", "documents": []}

    assert server.post("/rerank", json=body).status_code == 422


def test_models_tell_what_they_can_do(server: httpx.Client) -> None:
    models = {model["id"]: model["capabilities"] for model in server.get("/models").json()["data"]}

    assert models == {EMBEDDING_MODEL: ["embed"], RERANK_MODEL: ["rerank"]}


def test_health_is_the_time(server: httpx.Client) -> None:
    assert server.get("/health").json().keys() == {"unix"}


def test_two_servers_embed_into_one_space(real: RealServers, passages: list[str]) -> None:
    first, second = (
        np.array(
            [
                item["embedding"]
                for item in httpx.post(
                    f"{url}/embeddings",
                    json={"model": EMBEDDING_MODEL, "input": passages[:20]},
                    timeout=60,
                ).json()["data"]
            ]
        )
        for url in real.urls
    )

    np.testing.assert_allclose(first, second, atol=1e-5)
