"""What goes over the wire, and what is made of the answer."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from failover_core.clients import InfinityClient, OpenAICompatibleClient
from failover_core.errors import (
    ConfigurationError,
    ErrorClass,
    MalformedResponseError,
    ResponseStatusError,
)
from failover_core.reranking.protocol import RankedDocument
from failover_core.testing import FaultServer, faults
from tests.clients.servers import KEY, Door, RawServer, answer, vectors

Raw = Callable[..., RawServer]


def _base64(*numbers: float) -> str:
    return base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    ("kind", "prefix"), [(InfinityClient, ""), (OpenAICompatibleClient, "/v1")]
)
def test_the_bytes_of_an_embedding_request(
    door: Door, raw_server: Raw, kind: type[OpenAICompatibleClient], prefix: str
) -> None:
    server = raw_server(answer(vectors(_base64(1, 2))))
    with kind(f" {server.url}{prefix}/ ", model="minilm", api_key=KEY) as client:
        found = door.embed(client, ["héllo"])
    assert found.tolist() == [[1.0, 2.0]]
    assert found.dtype == np.float32
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    request_line, *lines = head.decode().split("\r\n")
    assert request_line == f"POST {prefix}/embeddings HTTP/1.1"
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": "rag-failover",
        "authorization": f"Bearer {KEY}",
        "content-length": str(len(body)),
    }
    assert orjson.loads(body) == {
        "model": "minilm",
        "input": ["héllo"],
        "encoding_format": "base64",
    }


def test_the_body_of_a_rerank_request(door: Door, raw_server: Raw) -> None:
    results = [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.9}]
    server = raw_server(*[answer({"results": results})] * 2)
    with InfinityClient(server.url, model="m") as client:
        assert door.rerank(client, ["a", "b"]) == [RankedDocument(0, 0.9), RankedDocument(1, 0.5)]
        assert door.rerank(client, ["a", "b"], 1) == [RankedDocument(0, 0.9)]
    bodies = [orjson.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]
    asked = {"model": "m", "query": "a query", "documents": ["a", "b"]}
    assert bodies == [asked, asked | {"top_n": 1}]
    assert b"authorization" not in server.requests[0].lower()


def test_equal_scores_keep_the_order_of_the_documents(door: Door, raw_server: Raw) -> None:
    results = [{"index": index, "relevance_score": 0.5} for index in (2, 0, 1)]
    server = raw_server(answer({"results": results}))
    with InfinityClient(server.url, model="m") as client:
        assert [found.index for found in door.rerank(client, ["a", "b", "c"], 2)] == [0, 1]


def test_vectors_are_put_in_the_order_of_their_index(door: Door, server: FaultServer) -> None:
    texts = [f"text number {index}" for index in range(8)]
    with InfinityClient(server.url, model="m") as client:
        expected = door.embed(client, texts)
        server.fault = faults.Shuffled()
        assert np.array_equal(door.embed(client, texts), expected)


def test_nothing_to_do_needs_no_request(door: Door, server: FaultServer) -> None:
    with InfinityClient(server.url, model="m") as client:
        assert door.embed(client, []).shape == (0, 0)
        assert door.rerank(client, []) == []
    assert server.requests == []


def _formats(server: FaultServer) -> list[str]:
    return [request.body["encoding_format"] for request in server.requests]


def test_a_server_that_ignores_base64_is_not_asked_again(
    door: Door, fault_servers: Callable[..., list[FaultServer]]
) -> None:
    (server,) = fault_servers(offers_base64=False)
    with InfinityClient(server.url, model="m") as client:
        for _ in range(3):
            assert door.embed(client, ["a"]).shape == (1, 384)
    assert _formats(server) == ["base64", "float", "float"]


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_base64_is_not_asked_again(
    door: Door, fault_servers: Callable[..., list[FaultServer]], status: int
) -> None:
    (server,) = fault_servers(offers_base64=False)
    server.script([faults.Status(status)])
    with InfinityClient(server.url, model="m") as client:
        for _ in range(2):
            assert door.embed(client, ["a"]).shape == (1, 384)
    assert _formats(server) == ["base64", "float", "float"]


def test_a_refusal_after_base64_has_worked_is_about_the_request(
    door: Door, server: FaultServer
) -> None:
    with InfinityClient(server.url, model="m") as client:
        door.embed(client, ["a"])
        server.fault = faults.Status(422)
        with pytest.raises(ResponseStatusError):
            door.embed(client, ["a"])
        server.fault = None
        door.embed(client, ["a"])
    assert _formats(server) == ["base64"] * 3


def test_a_refusal_of_both_formats_teaches_nothing(door: Door, server: FaultServer) -> None:
    server.script([faults.Status(422), faults.Status(422)])
    with InfinityClient(server.url, model="m") as client:
        with pytest.raises(ResponseStatusError):
            door.embed(client, ["a"])
        door.embed(client, ["a"])
    assert _formats(server) == ["base64", "float", "base64"]


_ITEMS: list[Any] = [
    {},
    [],
    None,
    "text",
    {"data": None},
    {"data": {}},
    {"data": []},
    {"data": [None, None]},
    {"data": vectors([1.0])["data"]},
    {"data": vectors([1.0], [1.0], [1.0])["data"]},
    {"data": [{"embedding": [1.0]}, {"embedding": [2.0]}]},
    {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [1.0]}]},
    {"data": [{"index": 0, "embedding": [1.0]}, {"index": 2, "embedding": [1.0]}]},
    {"data": [{"index": 0, "embedding": [1.0]}, {"index": -1, "embedding": [1.0]}]},
    {"data": [{"index": False, "embedding": [1.0]}, {"index": True, "embedding": [1.0]}]},
    {"data": [{"index": "0", "embedding": [1.0]}, {"index": "1", "embedding": [1.0]}]},
    vectors([1.0, 2.0], [1.0]),
    vectors([], []),
    vectors("", ""),
    vectors([1.0], None),
    vectors([1.0], [None]),
    vectors([1.0], ["1.0"]),
    vectors([1.0], [True]),
    vectors([1.0], [[1.0]]),
    vectors([1.0], [1e39]),
    vectors([1.0], {"0": 1.0}),
    vectors([1.0], 1.0),
    vectors([1.0], "%%%%"),
    vectors([1.0], "AAA="),
    vectors([1.0], _base64(float("nan"))),
    vectors(_base64(1), _base64(float("-inf"))),
    vectors(_base64(1), _base64(1, 2)),
]


@pytest.mark.parametrize("document", _ITEMS, ids=lambda document: str(document)[:60])
def test_an_unusable_embedding_answer_is_malformed(
    door: Door, raw_server: Raw, document: Any
) -> None:
    server = raw_server(answer(document))
    with InfinityClient(server.url, model="m") as client, pytest.raises(MalformedResponseError):
        door.embed(client, ["a", "b"])


_RANKS: list[Any] = [
    {"results": None},
    {"results": [{"index": 0, "relevance_score": 1}]},
    {"results": [{"index": 0, "relevance_score": 1}] * 2},
    {"results": [{"index": 0, "relevance_score": 1}, {"index": 2, "relevance_score": 1}]},
    {"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": None}]},
    {"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": True}]},
    {"results": [{"index": 0, "relevance_score": 1}, {"index": 1, "relevance_score": "1"}]},
    {"results": [{"index": 0, "relevance_score": 1}, {"index": 1}]},
    {"data": [{"index": 0, "score": 1}, {"index": 1, "score": 1}]},
]


@pytest.mark.parametrize("document", _RANKS, ids=lambda document: str(document)[:60])
def test_an_unusable_rerank_answer_is_malformed(door: Door, raw_server: Raw, document: Any) -> None:
    server = raw_server(answer(document))
    with InfinityClient(server.url, model="m") as client, pytest.raises(MalformedResponseError):
        door.rerank(client, ["a", "b"])


@pytest.mark.parametrize(
    "fault",
    [
        faults.Garbage(),
        faults.Garbage(""),
        faults.Garbage('{"data": [{"index": 0, "embedding": [NaN]}]}'),
        faults.WrongCount(-1),
        faults.WrongCount(1),
        faults.DuplicateIndex(),
        faults.IndexOutOfRange(),
        faults.NotFinite(),
        faults.NotFinite(literal=True),
    ],
    ids=str,
)
def test_a_lying_server_is_found_out(door: Door, server: FaultServer, fault: faults.Fault) -> None:
    server.fault = fault
    with InfinityClient(server.url, model="m") as client:
        with pytest.raises(MalformedResponseError):
            door.embed(client, ["a", "b"])
        with pytest.raises(MalformedResponseError):
            door.rerank(client, ["a", "b"])


_COMPLAINTS: list[tuple[str, Any, int, str | None, ErrorClass]] = [
    ("500 X", b"<html>", 500, None, ErrorClass.SERVER_ERROR),
    ("429 X", {"error": {"code": "insufficient_quota"}}, 429, "insufficient_quota",
     ErrorClass.QUOTA),
    ("429 X", {"error": {"message": "slow down", "code": 429}}, 429, None, ErrorClass.THROTTLED),
    (
        "400 X",
        {"error": {"message": "Invalid model: Engine not found", "type": None, "code": 400}},
        400,
        None,
        ErrorClass.MODEL_NOT_FOUND,
    ),
    ("422 X", {"detail": [{"type": "too_long", "input": ["a"]}]}, 422, "too_long",
     ErrorClass.INPUT_TOO_LARGE),
    ("404 X", {"detail": "Not Found"}, 404, None, ErrorClass.MODEL_NOT_FOUND),
    ("413 X", {"error": "batch size", "error_type": "Validation"}, 413, "Validation",
     ErrorClass.INPUT_TOO_LARGE),
    ("401 X", {"error": {"code": f"bad key {KEY}"}}, 401, None, ErrorClass.AUTH),
    ("401 X", {"error": {"code": KEY}}, 401, None, ErrorClass.AUTH),
    ("200 OK", {"error": {"message": "m", "code": 429}}, 429, None, ErrorClass.THROTTLED),
    ("200 OK", {"error": {"message": "m", "code": "x"}}, 500, "x", ErrorClass.SERVER_ERROR),
    ("200 OK", {"error": "the model fell over"}, 500, None, ErrorClass.SERVER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("status", "document", "number", "code", "kind"), _COMPLAINTS)
def test_a_complaint_becomes_an_error_with_its_facts_and_none_of_its_words(
    door: Door,
    raw_server: Raw,
    status: str,
    document: Any,
    number: int,
    code: str | None,
    kind: ErrorClass,
) -> None:
    server = raw_server(answer(document, status=status, headers=["Retry-After: 7"]))
    client = InfinityClient(server.url, model="m", api_key=KEY)
    with client, pytest.raises(ResponseStatusError) as caught:
        door.rerank(client, ["a"])
    error = caught.value
    assert (error.status_code, error.code, error.retry_after) == (number, code, "7")
    assert error.error_class is kind
    suffix = f" ({code})" if code else ""
    assert str(error) == f"{client.name} answered /rerank with HTTP {number}{suffix}"


@pytest.mark.parametrize("texts", ["one text", ["a", 1], [b"a"], ["\ud800"]])
def test_a_text_that_is_none_is_refused_before_it_is_sent(
    door: Door, server: FaultServer, texts: Any
) -> None:
    with InfinityClient(server.url, model="m") as client:
        with pytest.raises(ConfigurationError):
            door.embed(client, texts)
        with pytest.raises(ConfigurationError):
            door.rerank(client, texts)
    assert server.requests == []


@pytest.mark.parametrize("top_n", [0, -1])
def test_a_top_n_below_one_is_refused(door: Door, server: FaultServer, top_n: int) -> None:
    client = InfinityClient(server.url, model="m")
    with client, pytest.raises(ConfigurationError, match="top_n"):
        door.rerank(client, ["a"], top_n)
