"""A fault server that speaks for another vendor has that vendor's paths, answers and errors."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from failover_core.errors import ConfigurationError
from failover_core.testing import FaultServer, faults

Factory = Callable[..., list[FaultServer]]

KEY = "right"
TEXTS = ["a volcano erupts", "bread is baked"]
DOCUMENTS = {"model": "m", "query": "why do volcanoes erupt", "documents": TEXTS}


@pytest.fixture
def ask(fault_servers: Factory) -> Callable[..., httpx.Response]:
    """Send a request to a server of a vendor's; the server is started for it."""

    def send(provider: str, path: str, body: Any = None, **settings: Any) -> httpx.Response:
        (server,) = fault_servers(1, provider=provider, dimension=8, **settings)
        headers = {"authorization": f"Bearer {KEY}"}
        method = "GET" if body is None else "POST"
        return httpx.request(method, server.url + path, json=body, headers=headers, timeout=5)

    return send


Ask = Callable[..., httpx.Response]


def test_tei_answers_with_bare_lists_and_counts_tokens_in_a_header(ask: Ask) -> None:
    answer = ask("tei", "/embed", {"inputs": TEXTS})
    assert [len(vector) for vector in answer.json()] == [8, 8]
    assert answer.headers["x-compute-tokens"] == "6"
    ranks = ask("tei", "/rerank", {"query": "volcano", "texts": TEXTS, "return_text": True}).json()
    assert [rank["index"] for rank in ranks] == [0, 1]
    assert set(ranks[0]) == {"index", "score", "text"}


def test_tei_tells_of_its_one_model_and_of_its_health(ask: Ask) -> None:
    info = ask("tei", "/info", models={"gte": ["embed"]}).json()
    assert (info["model_id"], info["max_client_batch_size"]) == ("gte", 32)
    assert "reranker" in ask("tei", "/info", models={"bge": ["rerank"]}).json()["model_type"]
    assert ask("tei", "/health", api_key="other").content == b""


def test_cohere_answers_by_type_with_what_it_bills(ask: Ask) -> None:
    body = {"model": "m", "texts": TEXTS, "input_type": "search_document"}
    answer = ask("cohere", "/v2/embed", {**body, "embedding_types": ["float"]}).json()
    assert [len(vector) for vector in answer["embeddings"]["float"]] == [8, 8]
    assert answer["meta"]["billed_units"]["input_tokens"] >= 6
    packed = ask("cohere", "/v2/embed", {**body, "embedding_types": ["base64"]}).json()
    vector = np.frombuffer(base64.b64decode(packed["embeddings"]["base64"][0]), "<f4")
    np.testing.assert_allclose(vector, answer["embeddings"]["float"][0], rtol=1e-6)


def test_cohere_lists_its_models_to_those_with_a_key(ask: Ask) -> None:
    models = {"embed-v4.0": ["embed"]}
    listed = ask("cohere", "/v1/models", models=models, api_key=KEY).json()["models"]
    assert [(model["name"], model["endpoints"]) for model in listed] == [("embed-v4.0", ["embed"])]
    assert ask("cohere", "/v1/models/embed-v4.0", models=models).json()["name"] == "embed-v4.0"
    assert ask("cohere", "/v1/models/x", models=models).status_code == 404
    assert ask("cohere", "/v1/models", models=models, api_key="other").status_code == 401


@pytest.mark.parametrize(
    ("provider", "path", "results"),
    [
        ("cohere", "/v2/rerank", "results"),
        ("jina", "/v1/rerank", "results"),
        ("voyage", "/v1/rerank", "data"),
    ],
)
def test_the_hosted_vendors_rank_the_best_document_first(
    ask: Ask, provider: str, path: str, results: str
) -> None:
    found = ask(provider, path, DOCUMENTS).json()[results]
    assert [result["index"] for result in found] == [0, 1]
    assert found[0]["relevance_score"] > found[1]["relevance_score"]
    assert ("document" in found[0]) is (provider == "jina")


def test_voyage_calls_the_number_of_results_top_k(ask: Ask) -> None:
    assert len(ask("voyage", "/v1/rerank", {**DOCUMENTS, "top_k": 1}).json()["data"]) == 1


@pytest.mark.parametrize(
    ("provider", "path", "field", "word"),
    [
        ("jina", "/v1/embeddings", "task", "retrieval.query"),
        ("voyage", "/v1/embeddings", "input_type", "query"),
    ],
)
def test_a_query_is_embedded_otherwise_than_a_passage(
    ask: Ask, provider: str, path: str, field: str, word: str
) -> None:
    body = {"model": "m", "input": TEXTS}
    plain, query = (
        ask(provider, path, {**body, **extra}).json()["data"][0]["embedding"]
        for extra in ({}, {field: word})
    )
    assert 0.1 < np.dot(plain, query) < 0.99


def test_ollama_embeds_and_shows_its_models(ask: Ask) -> None:
    answer = ask("ollama", "/api/embed", {"model": "m", "input": TEXTS}).json()
    assert ([len(v) for v in answer["embeddings"]], answer["prompt_eval_count"]) == ([8, 8], 6)
    shown = ask("ollama", "/api/show", {"model": "m"}).json()
    assert shown["capabilities"] == ["embedding"]
    assert ask("ollama", "/api/show", {"model": "x"}, models=["m"]).status_code == 404
    assert "version" in ask("ollama", "/api/version").json()


@pytest.mark.parametrize(
    ("provider", "path", "body", "where"),
    [
        ("tei", "/embed", {"inputs": ["a"]}, "error"),
        ("cohere", "/v2/rerank", DOCUMENTS, "message"),
        ("jina", "/v1/rerank", DOCUMENTS, "detail"),
        ("voyage", "/v1/rerank", DOCUMENTS, "detail"),
        ("ollama", "/api/embed", {"model": "m", "input": ["a"]}, "error"),
    ],
)
def test_each_vendor_complains_in_its_own_shape(
    ask: Ask, provider: str, path: str, body: dict[str, Any], where: str
) -> None:
    wrong_key = ask(provider, path, body, api_key="other")
    assert wrong_key.status_code == 401
    no_object = ask(provider, path, [])
    wrong_path = ask(provider, "/nowhere", body)
    nonsense = ask(provider, path, {"model": "m"})
    for answer in (wrong_key, no_object, wrong_path, nonsense):
        assert answer.status_code >= 400
        assert isinstance(answer.json()[where], str)


def test_vectors_without_an_index_come_in_the_order_of_the_texts(fault_servers: Factory) -> None:
    (server,) = fault_servers(1, provider="ollama", dimension=8)
    body = {"model": "m", "input": TEXTS}
    healthy = httpx.post(f"{server.url}/api/embed", json=body).json()["embeddings"]
    for fault in (faults.Shuffled(), faults.DuplicateIndex(), faults.IndexOutOfRange()):
        server.fault = fault
        assert httpx.post(f"{server.url}/api/embed", json=body).json()["embeddings"] == healthy
    server.fault = faults.WrongCount(1)
    assert len(httpx.post(f"{server.url}/api/embed", json=body).json()["embeddings"]) == 3


def test_a_fault_of_one_path_strikes_a_vendors_path(fault_servers: Factory) -> None:
    (server,) = fault_servers(1, provider="cohere")
    server.set_fault(faults.Status(503), path="/v2/rerank")
    assert httpx.post(f"{server.url}/v2/rerank", json=DOCUMENTS).status_code == 503
    assert httpx.get(f"{server.url}/v1/models").status_code == 200


def test_an_unknown_vendor_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="provider: 'acme' is unknown; known: infinity"):
        FaultServer(provider="acme")
