"""Each fault, as a plain httpx client sees it."""

from __future__ import annotations

import base64
import json
import math
import ssl
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from failover_core.errors import ConfigurationError
from failover_core.testing import Fault, FaultServer, faults

Servers = Callable[..., list[FaultServer]]

EMBED = {"model": "m", "input": ["one", "two", "three"]}
RERANK = {"model": "m", "query": "one", "documents": ["one", "two", "three"]}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello dear server"}]}


def embed(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post("/embeddings", json={**EMBED, **fields})


def stream(http: httpx.Client) -> list[str]:
    """Return the data lines of a chat stream; the break is raised."""
    received: list[str] = []
    with http.stream("POST", "/chat/completions", json={**CHAT, "stream": True}) as answer:
        received.extend(line for line in answer.iter_lines() if line)
    return received


def stream_until_broken(http: httpx.Client) -> tuple[list[str], httpx.HTTPError]:
    received: list[str] = []
    with (
        pytest.raises(httpx.HTTPError) as caught,
        http.stream("POST", "/chat/completions", json={**CHAT, "stream": True}) as answer,
    ):
        received.extend(line for line in answer.iter_lines() if line)
    return received, caught.value


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Refuse(), httpx.ConnectError),
        (faults.Reset(), httpx.ReadError),
        (faults.Reset(after_bytes=40), httpx.ReadError),
        (faults.Reset(after_bytes=500), httpx.ReadError),
        (faults.Hang(), httpx.ReadTimeout),
        (faults.Hang(after_bytes=500), httpx.ReadTimeout),
        (faults.Truncate(), httpx.RemoteProtocolError),
        (faults.Dying(), httpx.ReadError),
        (faults.Slow(seconds=5), httpx.ReadTimeout),
    ],
)
def test_a_broken_connection_is_a_transport_error(
    fault_server: FaultServer, http: httpx.Client, fault: Fault, error: type[Exception]
) -> None:
    assert embed(http).status_code == 200
    with fault_server.failing(fault), pytest.raises(error):
        http.post("/embeddings", json=EMBED, timeout=0.2)
    assert embed(http).status_code == 200


def test_only_a_share_of_the_answers_may_be_slow(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.Slow(seconds=60, share=0.0)
    assert embed(http).status_code == 200
    fault_server.fault = faults.Slow(seconds=0.05, share=0.5)
    times = [embed(http).elapsed.total_seconds() for _ in range(40)]
    assert any(seconds >= 0.05 for seconds in times)  # all but once in 10^12 runs
    assert min(times) < 0.05


def test_a_trickle_outlasts_any_read_timeout_and_is_right_in_the_end(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    healthy = embed(http, dimensions=1).json()["data"]
    fault_server.fault = faults.Trickle(period=0.001, size=2)
    began = time.monotonic()
    trickled = http.post("/embeddings", json={**EMBED, "dimensions": 1}, timeout=0.1)
    assert time.monotonic() - began > 0.1
    assert trickled.json()["data"] == healthy


def test_a_narrow_line_takes_its_time_and_brings_everything(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    healthy = embed(http, dimensions=64)
    fault_server.fault = faults.Bandwidth(bytes_per_second=len(healthy.content) / 0.2)
    began = time.monotonic()
    assert embed(http, dimensions=64).json() == healthy.json()
    assert time.monotonic() - began >= 0.2


def test_a_close_may_come_long_after_the_answer_that_it_ends(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    healthy = embed(http)
    fault_server.fault = faults.SlowClose(seconds=0.2)
    began = time.monotonic()
    answer = embed(http)
    assert answer.json() == healthy.json()
    assert "content-length" not in answer.headers
    assert time.monotonic() - began >= 0.2
    with pytest.raises(httpx.ReadTimeout):
        http.post("/embeddings", json=EMBED, timeout=0.1)
    assert '"finish_reason":"stop"' in stream(http)[-2]


CERTIFICATE = str(Path(__file__).parents[1] / "clients" / "localhost.pem")


def test_a_server_with_a_certificate_speaks_tls_until_it_fails(fault_servers: Servers) -> None:
    (server,) = fault_servers(certificate=CERTIFICATE)
    trusted = ssl.create_default_context(cafile=CERTIFICATE)
    url = server.url.replace("127.0.0.1", "localhost")  # whose certificate it is
    with httpx.Client(base_url=url, verify=trusted, timeout=5) as http:
        assert embed(http).status_code == 200
        with server.failing(faults.TlsFailure()):
            for _ in range(2):
                with pytest.raises(httpx.TransportError):
                    embed(http)
            with pytest.raises(httpx.ConnectError, match="SSL"):
                embed(http)
        assert embed(http).status_code == 200
        server.stop()
        server.fault = faults.TlsFailure()
        server.start()
        with pytest.raises(httpx.ConnectError):
            embed(http)
        server.fault = None
        for fault in (faults.Reset(), faults.Hang()):
            with server.failing(fault), pytest.raises(httpx.TransportError):
                http.post("/embeddings", json=EMBED, timeout=0.2)
        with server.failing(faults.SlowClose(0)):
            assert len(embed(http).json()["data"]) == 3


def test_tls_fails_only_where_it_is_spoken(fault_server: FaultServer, http: httpx.Client) -> None:
    with pytest.raises(ConfigurationError, match="certificate"):
        fault_server.fault = faults.TlsFailure()
    order = {"fault": "tls_failure", "lasting": 1}
    assert http.post("/_fault", json=order).status_code == 400
    assert embed(http).status_code == 200


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        FaultServer(certificate=tmp_path / "missing.pem")
    (tmp_path / "empty.pem").write_text("")
    with pytest.raises(ConfigurationError, match="empty"):
        FaultServer(certificate=tmp_path / "empty.pem")


def test_a_status_carries_its_body_and_headers(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.Status(503, {"loading": True}, {"x-reason": "boot"})
    answer = embed(http)
    assert (answer.status_code, answer.json()) == (503, {"loading": True})
    assert answer.headers["x-reason"] == "boot"
    fault_server.fault = faults.Status(401)
    assert embed(http).json()["error"]["code"] == 401


def test_retry_after_comes_in_seconds_or_as_a_date(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.RetryAfter(seconds=2)
    answer = embed(http)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
    fault_server.fault = faults.RetryAfter(seconds=60, code=503, as_date=True)
    answer = embed(http)
    at = parsedate_to_datetime(answer.headers["retry-after"]).timestamp()
    assert answer.status_code == 503
    assert at == pytest.approx(time.time() + 60, abs=5)


def test_a_redirect_names_its_location(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.Redirect("http://127.0.0.1:1/thief", code=308)
    answer = embed(http)
    assert (answer.status_code, answer.headers["location"]) == (308, "http://127.0.0.1:1/thief")


def test_an_error_may_sit_inside_a_200(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.ErrorInside200(code="rate_limited", message="later")
    answer = embed(http)
    assert answer.status_code == 200
    assert answer.json()["error"] == {
        "message": "later",
        "type": None,
        "param": None,
        "code": "rate_limited",
    }


def test_garbage_is_no_json(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.Garbage()
    answer = embed(http)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_huge_body_is_as_long_as_it_was_told(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.HugeBody(size=1_000_000)
    assert len(embed(http).json()) == 1_000_000


def test_a_huge_body_stops_when_the_client_leaves(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.HugeBody(size=1 << 40)
    with http.stream("POST", "/embeddings", json=EMBED) as answer:
        assert next(answer.iter_bytes())
    fault_server.fault = None
    assert embed(http).status_code == 200


def test_flapping_fails_for_a_period_and_serves_for_the_next(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.Flap(period=0.3, fault=faults.Status(500))
    seen: list[int] = []
    until = time.monotonic() + 3
    while seen[-3:] != [500, 200, 500] and time.monotonic() < until:
        status = embed(http).status_code
        if not seen or seen[-1] != status:
            seen.append(status)
    assert seen == [500, 200, 500]
    ages = (0.0, 1.9, 2.0, 3.9, 4.0, 5.9, 6.0)
    turns = [faults.Flap(period=2).serves(age) for age in ages]
    assert turns == [False, False, True, True, False, False, True]


ListFault = Callable[[list[Any]], bool]


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (faults.WrongCount(-1), lambda data: len(data) == 2),
        (faults.WrongCount(2), lambda data: len(data) == 5),
        (faults.Shuffled(), lambda data: [d["index"] for d in data] == [2, 1, 0]),
        (faults.DuplicateIndex(), lambda data: [d["index"] for d in data] == [0, 0, 0]),
        (faults.IndexOutOfRange(7), lambda data: [d["index"] for d in data] == [0, 1, 7]),
        (faults.NotFinite(), lambda data: data[2]["embedding"][-1] is None),
        (faults.NotFinite(literal=True), lambda data: math.isnan(data[2]["embedding"][-1])),
        (
            faults.RaggedDimensions(),
            lambda data: [len(d["embedding"]) for d in data] == [384, 384, 383],
        ),
        (faults.WrongDimension(5), lambda data: {len(d["embedding"]) for d in data} == {5}),
        (faults.ZeroVectors(), lambda data: not any(any(d["embedding"]) for d in data)),
        (faults.EmptyVectors(), lambda data: not any(d["embedding"] for d in data)),
    ],
)
def test_a_list_of_vectors_lies(
    fault_server: FaultServer, http: httpx.Client, fault: Fault, seen: ListFault
) -> None:
    assert not seen(embed(http).json()["data"])
    fault_server.fault = fault
    assert seen(embed(http).json()["data"])


def test_another_model_has_vectors_of_the_same_dimension_and_length(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    healthy = np.array([one["embedding"] for one in embed(http).json()["data"]])
    fault_server.fault = faults.OtherModel()
    other = np.array([one["embedding"] for one in embed(http).json()["data"]])
    assert healthy.shape == other.shape
    assert np.allclose(np.linalg.norm(healthy, axis=1), np.linalg.norm(other, axis=1))
    assert not np.allclose(healthy, other, atol=0.1)


def test_a_poisoned_text_is_refused_and_no_other(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.Poison("arsenic")
    assert embed(http, input=["bread", "arsenic"]).status_code == 422
    assert embed(http, input=["bread"]).status_code == 200


def test_a_request_with_too_many_texts_or_documents_is_refused(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.TooLarge(items=2)
    assert embed(http, input=["a", "b", "c"]).status_code == 413
    assert embed(http, input=["a", "b"]).status_code == 200
    documents = {**RERANK, "documents": ["a", "b", "c"]}
    assert http.post("/rerank", json=documents).status_code == 413
    assert http.get("/models").status_code == 200


def test_shuffled_vectors_still_belong_to_their_index(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    healthy = embed(http).json()["data"]
    fault_server.fault = faults.Shuffled()
    assert sorted(embed(http).json()["data"], key=lambda item: item["index"]) == healthy


def test_nan_in_base64_is_a_real_nan(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.NotFinite()
    encoded = embed(http, encoding_format="base64").json()["data"][-1]["embedding"]
    assert math.isnan(np.frombuffer(base64.b64decode(encoded), "<f4")[-1])


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (faults.WrongCount(-1), lambda results: len(results) == 2),
        (faults.IndexOutOfRange(), lambda results: results[-1]["index"] == 9999),
        (faults.NotFinite(), lambda results: results[-1]["relevance_score"] is None),
        (faults.DuplicateIndex(), lambda results: len({r["index"] for r in results}) == 1),
    ],
)
def test_a_list_of_ranks_lies(
    fault_server: FaultServer, http: httpx.Client, fault: Fault, seen: ListFault
) -> None:
    assert not seen(http.post("/rerank", json=RERANK).json()["results"])
    fault_server.fault = fault
    assert seen(http.post("/rerank", json=RERANK).json()["results"])


@pytest.mark.parametrize("kind", [faults.StreamReset, faults.Dying])
@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_server_that_dies_in_mid_stream_resets_after_that_many_chunks(
    fault_server: FaultServer, http: httpx.Client, after: int, kind: type[faults.StreamReset]
) -> None:
    fault_server.fault = kind(after_chunks=after)
    received, error = stream_until_broken(http)
    assert isinstance(error, httpx.ReadError)
    assert len(received) == 1 + after


def test_a_stream_may_fall_silent(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.StreamHang(after_chunks=2)
    http.timeout = httpx.Timeout(0.2)
    received, error = stream_until_broken(http)
    assert isinstance(error, httpx.ReadTimeout)
    assert len(received) == 3


def test_a_stream_may_end_in_order_without_a_finish(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.StreamEnd(after_chunks=1)
    lines = stream(http)
    assert len(lines) == 2
    assert '"finish_reason":"stop"' not in "".join(lines)


def test_a_stream_may_carry_an_error(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.StreamError(after_chunks=1, code=503)
    lines = stream(http)
    assert json.loads(lines[-1].removeprefix("data: "))["error"]["code"] == 503
    assert len(lines) == 3


def test_a_chunk_may_be_malformed(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.MalformedChunk(after_chunks=1)
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream(http)[-1].removeprefix("data: "))


def test_done_may_be_missing_after_a_finish(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.MissingDone()
    assert '"finish_reason":"stop"' in stream(http)[-1]


@pytest.mark.parametrize(
    "fault",
    [faults.StreamReset(), faults.StreamHang(), faults.StreamEnd(), faults.MissingDone()],
)
def test_a_fault_that_does_not_fit_an_answer_leaves_it_alone(
    fault_server: FaultServer, http: httpx.Client, fault: Fault
) -> None:
    fault_server.fault = fault
    assert len(embed(http).json()["data"]) == 3


def test_a_list_fault_leaves_a_chat_answer_and_an_error_alone(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.WrongCount()
    assert http.post("/chat/completions", json=CHAT).status_code == 200
    assert embed(http, input=[]).status_code == 422


@pytest.mark.parametrize("name", sorted(Fault.registry))
def test_every_fault_can_be_called_by_its_name(name: str) -> None:
    assert Fault.named(name).name() == name


def test_a_fault_is_parsed_with_its_settings() -> None:
    assert Fault.parse("hang") == faults.Hang()
    assert Fault.parse("retry_after:seconds=2.5,as_date=true") == faults.RetryAfter(
        2.5, as_date=True
    )
    assert Fault.parse("redirect:location=http://127.0.0.1/x") == faults.Redirect(
        "http://127.0.0.1/x"
    )
    assert Fault.parse("flap:period=2,fault=reset") == faults.Flap(2, faults.Reset())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("explode", "explode"),
        ("status:cod=5", "cod"),
        ("flap:fault=refuse", "Refuse"),
        ("flap:fault=tls_failure", "TlsFailure"),
    ],
)
def test_an_impossible_fault_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Fault.parse(text)
