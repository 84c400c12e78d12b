"""What each client sends, and makes of what its vendor answers, against recorded contracts.

The files in ``golden`` were written from the vendors' documentation, which each of them names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from failover_core.clients import PROVIDERS, Description, HealthEndpoint, metered
from failover_core.errors import ErrorClass, MalformedResponseError, ResponseStatusError
from failover_core.reranking.protocol import RankedDocument
from tests.clients.servers import KEY, Door, RawServer, answer

Raw = Callable[..., RawServer]
Exchange = dict[str, Any]

GOLDEN = {
    path.stem: json.loads(path.read_text()) for path in Path(__file__).parent.glob("golden/*")
}


def recorded(section: str) -> list[Any]:
    return [
        pytest.param(provider, case, id=f"{provider}: {case['name']}")
        for provider, golden in sorted(GOLDEN.items())
        for case in golden[section]
    ]


def reply(exchange: Exchange) -> bytes:
    told = exchange["answer"]
    body = b"" if told["body"] in (None, "") else told["body"]
    headers = [f"{name}: {value}" for name, value in told.get("headers", {}).items()]
    return answer(body, status=f"{told['status']} X", headers=headers)


def client_of(provider: str, url: str, **settings: Any) -> Any:
    model = GOLDEN[provider]["model"]
    return PROVIDERS[provider](url, **{"model": model, "api_key": KEY, **settings})


def check_requests(server: RawServer, exchanges: list[Exchange]) -> None:
    received = []
    for raw in server.requests:
        head, _, body = raw.partition(b"\r\n\r\n")
        method, path, _ = head.split(b"\r\n")[0].decode().split(" ")
        assert f"authorization: bearer {KEY}".encode() in head.lower()
        content = orjson.loads(body) if body else None
        received.append({"method": method, "path": path, "body": content})
    assert received == [exchange["request"] for exchange in exchanges]


def test_every_provider_has_a_recorded_contract_and_its_sources() -> None:
    assert set(GOLDEN) == set(PROVIDERS)
    assert all(golden["sources"] for golden in GOLDEN.values())


@pytest.mark.parametrize(("provider", "case"), recorded("calls"))
def test_what_is_sent_and_what_is_made_of_the_answer(
    door: Door, raw_server: Raw, provider: str, case: dict[str, Any]
) -> None:
    server = raw_server(*map(reply, case["exchanges"]))
    with client_of(provider, server.url, **case["settings"]) as client, metered() as usage:
        if "embed" in case:
            vectors = door.embed(client, case["embed"], case["kind"])
            assert vectors.tolist() == case["vectors"]
            assert vectors.dtype == np.float32
        else:
            ranked = door.rerank(client, case["rerank"], case["top_n"], query=case["query"])
            assert ranked == [RankedDocument(*rank) for rank in case["ranks"]]
    check_requests(server, case["exchanges"])
    assert usage.tokens == case["tokens"]


@pytest.mark.parametrize(("provider", "case"), recorded("errors"))
def test_what_a_vendor_complains_of_is_classed_by_its_own_words(
    door: Door, raw_server: Raw, provider: str, case: dict[str, Any]
) -> None:
    exchange = {"answer": case, "request": {"path": case["path"]}}
    server = raw_server(*[reply(exchange)] * 2)
    client = client_of(provider, server.url)
    with client, pytest.raises(ResponseStatusError) as caught:
        door.embed(client, ["a"]) if case["do"] == "embed" else door.rerank(client, ["a"])
    error = caught.value
    assert error.error_class is ErrorClass(case["class"])
    assert error.status_code == (502 if case["status"] == 200 else case["status"])
    assert (error.code, error.retry_after) == (case["code"], case["headers"].get("Retry-After"))
    assert server.requests[0].split(b" ")[1].decode() == case["path"]
    assert len(server.requests) == 1, "an error that is not about base64 was asked for again"


@pytest.mark.parametrize(("provider", "case"), recorded("descriptions"))
def test_what_a_server_says_of_its_model(
    door: Door, raw_server: Raw, provider: str, case: dict[str, Any]
) -> None:
    server = raw_server(*map(reply, case["exchanges"]))
    expected = {**case["description"]}
    expected["capabilities"] = frozenset(expected.get("capabilities", ()))
    with client_of(provider, server.url) as client:
        assert door.describe(client) == Description(**expected)
    check_requests(server, case["exchanges"])


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_health_is_asked_for_where_it_is_free(raw_server: Raw, provider: str) -> None:
    golden = GOLDEN[provider]
    assert ("health" in golden) is issubclass(PROVIDERS[provider], HealthEndpoint)
    if "health" not in golden:
        return
    server = raw_server(reply(golden["health"]), answer({"error": "x"}, status="503 X"))
    with client_of(provider, server.url) as client:
        client.check_health()
        with pytest.raises(ResponseStatusError):
            client.check_health()
    check_requests(server, [golden["health"]] * 2)


_ODD: list[Any] = [
    None,
    [],
    {},
    "x",
    7,
    {"data": [7]},
    {"model_info": 7, "capabilities": 7},
    {"data": None},
]


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
@pytest.mark.parametrize("document", _ODD, ids=repr)
def test_a_description_of_nonsense_is_empty_or_malformed(
    raw_server: Raw, provider: str, document: Any
) -> None:
    server = raw_server(answer(document))
    with client_of(provider, server.url) as client:
        try:
            found = client.describe()
        except MalformedResponseError:
            return
    assert found == Description(GOLDEN[provider]["model"])
