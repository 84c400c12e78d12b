"""A healthy fault server answers as the real servers do."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from failover_core.testing import FaultServer

Factory = Callable[..., list[FaultServer]]


def embed(http: httpx.Client, *texts: str, **fields: Any) -> np.ndarray[Any, Any]:
    answer = http.post("/embeddings", json={"model": "m", "input": list(texts), **fields})
    return np.array([item["embedding"] for item in answer.json()["data"]])


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_embeddings_have_the_openai_shape_with_and_without_v1(
    http: httpx.Client, prefix: str
) -> None:
    body = http.post(f"{prefix}/embeddings", json={"model": "m", "input": ["a b", "c"]}).json()
    assert body["object"] == "list"
    assert body["model"] == "m"
    assert [item["index"] for item in body["data"]] == [0, 1]
    assert {len(item["embedding"]) for item in body["data"]} == {384}
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_base64_vectors_are_little_endian_float32_and_equal_the_floats(http: httpx.Client) -> None:
    body = {"model": "m", "input": "hello", "encoding_format": "base64"}
    encoded = http.post("/embeddings", json=body).json()["data"][0]["embedding"]
    vector = np.frombuffer(base64.b64decode(encoded), "<f4")
    np.testing.assert_allclose(vector, embed(http, "hello")[0], rtol=1e-6)


def test_a_server_without_base64_answers_floats_whatever_is_asked(fault_servers: Factory) -> None:
    server = fault_servers(offers_base64=False)[0]
    body = {"model": "m", "input": "hello", "encoding_format": "base64"}
    answer = httpx.post(f"{server.url}/embeddings", json=body).json()
    assert isinstance(answer["data"][0]["embedding"], list)


def test_vectors_have_length_one_and_depend_on_their_own_text_alone(http: httpx.Client) -> None:
    together = embed(http, "one text", "", "another text")
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(together[2], embed(http, "another text")[0])


def test_another_model_is_another_vector_space(http: httpx.Client) -> None:
    text = "the quick brown fox"
    cosine = embed(http, text)[0] @ embed(http, text, model="other")[0]
    assert abs(cosine) < 0.3


def test_fewer_dimensions_may_be_asked_for(http: httpx.Client) -> None:
    vector = embed(http, "text", dimensions=16)[0]
    assert vector.shape == (16,)
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_no_vector_of_a_tiny_dimension_is_zero(fault_servers: Factory) -> None:
    server = fault_servers(dimension=2)[0]
    with httpx.Client(base_url=server.url) as http:
        vectors = embed(http, *[f"{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"])
    assert np.isfinite(vectors).all()


PASSAGES = [
    "Cats sleep for most of the day, often on a sofa.",
    "The stock exchange closed lower after the central bank raised interest rates.",
    "A volcano erupts when molten rock rises to the surface of the earth.",
    "Bread is baked from flour, water, salt and yeast.",
]


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("Where does a cat like to sleep?", 0),
        ("What did the bank do to interest rates?", 1),
        ("Why do volcanoes erupt?", 2),
        ("Which ingredients does a baker need to bake bread?", 3),
    ],
)
def test_embeddings_retrieve_and_rerank_ranks_the_passage_that_answers(
    http: httpx.Client, question: str, best: int
) -> None:
    cosines = embed(http, *PASSAGES) @ embed(http, question)[0]
    assert int(cosines.argmax()) == best
    body = {"model": "r", "query": question, "documents": PASSAGES}
    results = http.post("/rerank", json=body).json()["results"]
    assert results[0]["index"] == best


def test_rerank_is_sorted_bounded_and_cut_to_top_n(http: httpx.Client) -> None:
    body = {
        "model": "r",
        "query": "volcano",
        "documents": PASSAGES,
        "top_n": 3,
        "return_documents": True,
    }
    answer = http.post("/v1/rerank", json=body).json()
    scores = [result["relevance_score"] for result in answer["results"]]
    assert answer["object"] == "rerank"
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)
    assert answer["results"][0]["document"] == PASSAGES[2]


def test_raw_scores_are_logits_of_the_others(http: httpx.Client) -> None:
    body = {"model": "r", "query": "volcano", "documents": PASSAGES}
    plain, raw = (
        http.post("/rerank", json={**body, "raw_scores": raw}).json()["results"][0]
        for raw in (False, True)
    )
    assert plain["relevance_score"] == pytest.approx(1 / (1 + np.exp(-raw["relevance_score"])))


def test_models_list_their_capabilities_and_health_tells_the_time(fault_servers: Factory) -> None:
    server = fault_servers(models={"minilm": ["embed"], "reranker": ["rerank"]})[0]
    models = httpx.get(f"{server.url}/v1/models").json()["data"]
    assert [(m["id"], m["capabilities"]) for m in models] == [
        ("minilm", ["embed"]),
        ("reranker", ["rerank"]),
    ]
    assert "unix" in httpx.get(f"{server.url}/health").json()


def test_an_unknown_model_is_refused_as_infinity_and_openai_do(fault_servers: Factory) -> None:
    server = fault_servers(models=["minilm"])[0]
    embedding = httpx.post(f"{server.url}/embeddings", json={"model": "x", "input": ["a"]})
    assert embedding.status_code == 400
    assert embedding.json()["error"]["code"] == 400
    assert embedding.json()["error"]["type"] is None
    assert embedding.json()["error"]["message"].startswith("Invalid model: ")
    body = {"model": "x", "messages": [{"role": "user", "content": "hi"}]}
    chat = httpx.post(f"{server.url}/v1/chat/completions", json=body)
    assert chat.status_code == 404
    assert chat.json()["error"]["code"] == "model_not_found"


def test_a_model_of_another_kind_is_not_deployed(fault_servers: Factory) -> None:
    server = fault_servers(models={"minilm": ["embed"]})[0]
    body = {"model": "minilm", "query": "q", "documents": ["d"]}
    answer = httpx.post(f"{server.url}/rerank", json=body)
    assert answer.status_code == 400
    assert "ModelNotDeployedError" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/embeddings", {"model": "m", "input": []}, "too_short"),
        ("/embeddings", {"model": "m", "input": ["x"] * 2049}, "too_long"),
        ("/embeddings", {"model": "m"}, "list_type"),
        ("/rerank", {"model": "m", "query": "q", "documents": []}, "too_short"),
        ("/chat/completions", {"model": "m", "messages": []}, "too_short"),
        ("/embeddings", "no object", "json_invalid"),
        ("/chat/completions", {"model": "m", "messages": ["no message"]}, "value_error"),
    ],
)
def test_an_invalid_body_is_a_422_that_echoes_the_value(
    http: httpx.Client, path: str, body: Any, kind: str
) -> None:
    answer = http.post(path, json=body)
    assert answer.status_code == 422
    (detail,) = answer.json()["detail"]
    assert detail["type"] == kind
    if kind == "too_long":
        assert detail["input"] == body["input"]


def test_an_unknown_path_and_a_wrong_method_are_refused(http: httpx.Client) -> None:
    assert http.post("/v1/nowhere", json={}).json() == {"detail": "Not Found"}
    assert http.get("/embeddings").status_code == 405


@pytest.mark.parametrize("key", [None, "Bearer wrong"])
def test_a_missing_or_wrong_key_is_a_401(fault_servers: Factory, key: str | None) -> None:
    server = fault_servers(api_key="right")[0]
    headers = {"authorization": key} if key else {}
    body = {"model": "m", "input": ["a"]}
    refused = httpx.post(f"{server.url}/embeddings", json=body, headers=headers)
    assert refused.status_code == 401
    served = httpx.post(
        f"{server.url}/embeddings", json=body, headers={"authorization": "Bearer right"}
    )
    assert served.status_code == 200


def test_a_chunked_request_body_is_read(http: httpx.Client) -> None:
    body = json.dumps({"model": "m", "input": ["a"]}).encode()
    answer = http.post("/embeddings", content=iter([body[:7], body[7:]]))
    assert len(answer.json()["data"]) == 1
