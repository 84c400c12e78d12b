"""The fault server as a server: lifetime, records, plans, control, its own process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from failover_core.errors import ConfigurationError
from failover_core.testing import FaultServer, faults

Factory = Callable[..., list[FaultServer]]
EMBED = {"model": "m", "input": ["one"]}


def statuses(http: httpx.Client, number: int, path: str = "/embeddings") -> list[int]:
    return [http.post(path, json=EMBED).status_code for _ in range(number)]


def test_a_stopped_server_refuses_and_serves_again_on_the_same_port(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    port = fault_server.port
    fault_server.stop()
    with pytest.raises(httpx.ConnectError):
        http.get("/health")
    fault_server.start()
    assert fault_server.port == port
    assert http.get("/health").status_code == 200


def test_stopping_resets_a_request_in_flight(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.fault = faults.Hang()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(http.get, "/health")
        wait_until(lambda: len(fault_server.requests) == 1)
        fault_server.stop()
        assert isinstance(answer.exception(timeout=5), httpx.ReadError)


def test_the_port_of_a_stopped_server_is_nobody_elses(fault_server: FaultServer) -> None:
    fault_server.stop()
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", fault_server.port))


def test_a_port_that_is_taken_is_named(fault_server: FaultServer) -> None:
    with pytest.raises(ConfigurationError, match=str(fault_server.port)):
        FaultServer(port=fault_server.port)


def test_start_and_stop_may_be_repeated(fault_server: FaultServer) -> None:
    for _ in range(100):
        fault_server.start()
        fault_server.stop()
        fault_server.stop()
    for _ in range(2):
        with fault_server:
            assert httpx.get(f"{fault_server.url}/health").status_code == 200


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors as Linux does")
def test_no_thread_and_no_socket_outlives_a_server() -> None:
    before = threading.active_count(), sockets()
    for fault in (faults.Hang(), faults.Reset(), faults.Refuse()):
        with FaultServer() as server, httpx.Client(base_url=server.url, timeout=0.1) as http:
            http.get("/health")
            server.fault = fault
            with pytest.raises(httpx.HTTPError):
                http.get("/health")
    assert (threading.active_count(), sockets()) == before


def sockets() -> int:
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:  # the listing's own descriptor
            continue
    return sum(link.startswith("socket:") for link in links)


def test_connections_are_kept_alive(fault_server: FaultServer) -> None:
    with socket.create_connection(("127.0.0.1", fault_server.port)) as connection:
        for _ in range(3):
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        connection.sendall(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n")
        while connection.recv(4096):
            pass


def test_requests_are_recorded_with_their_headers_and_bodies(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    began = time.monotonic()
    http.post("/v1/embeddings?a=1", json=EMBED, headers={"Authorization": "Bearer canary"})
    (request,) = fault_server.requests
    assert (request.method, request.path, request.query) == ("POST", "/v1/embeddings", "a=1")
    assert request.body == EMBED
    assert request.headers["authorization"] == "Bearer canary"
    assert began <= request.time <= time.monotonic()


def test_served_counts_what_met_no_fault(fault_server: FaultServer, http: httpx.Client) -> None:
    fault_server.script([None, faults.Status(500), None])
    statuses(http, 3)
    assert (fault_server.served, len(fault_server.requests)) == (2, 3)
    # So another process may ask, which does not count.
    assert http.get("/_fault").json() == {"fault": None, "received": 3, "served": 2}
    fault_server.clear()
    assert (fault_server.served, fault_server.requests) == (0, [])
    fault_server.fault = faults.Hang()
    assert http.get("/_fault").json() == {"fault": "hang", "received": 0, "served": 0}


def test_a_script_is_played_in_order_and_then_ends(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.Status(502)
    fault_server.script([faults.Status(500), None, faults.RetryAfter()])
    assert statuses(http, 5) == [500, 200, 429, 502, 502]


def test_a_fault_of_one_path_strikes_no_other(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    with fault_server.failing(faults.Status(500), path="/embeddings"):
        assert statuses(http, 1) == [500]
        assert statuses(http, 1, "/v1/embeddings") == [500]
        assert http.get("/health").status_code == 200
    assert statuses(http, 1) == [200]


def test_a_script_of_one_path_waits_for_its_requests(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.script([faults.Status(500)], path="/embeddings")
    fault_server.script([None, faults.Status(501)])
    assert http.get("/health").status_code == 200
    assert statuses(http, 3) == [500, 501, 200]


def test_failing_restores_the_fault_before_it(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    fault_server.fault = faults.Status(500)
    with fault_server.failing(faults.Status(503)):
        assert statuses(http, 1) == [503]
    assert fault_server.fault == faults.Status(500)
    assert statuses(http, 1) == [500]


def test_a_fault_may_be_set_before_the_start(fault_servers: Factory) -> None:
    server = FaultServer()
    server.fault = faults.Refuse()
    with server:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health")
        server.fault = None
        assert httpx.get(f"{server.url}/health").status_code == 200


def test_refusing_strikes_a_whole_server(fault_server: FaultServer) -> None:
    with pytest.raises(ConfigurationError, match="refuse"):
        fault_server.script([faults.Refuse()])
    with pytest.raises(ConfigurationError, match="refuse"):
        fault_server.set_fault(faults.Refuse(), path="/embeddings")


def test_faults_may_be_set_while_many_threads_send(fault_server: FaultServer) -> None:
    done = threading.Event()

    def send() -> None:
        with httpx.Client(base_url=fault_server.url) as http:
            while not done.is_set():
                try:
                    http.get("/health")
                except httpx.TransportError:
                    continue

    with ThreadPoolExecutor(8) as pool:
        senders = [pool.submit(send) for _ in range(8)]
        for _ in range(50):
            fault_server.fault = faults.Refuse()
            fault_server.fault = faults.Reset()
            fault_server.stop()
            fault_server.start()
            fault_server.fault = None
        done.set()
    assert [sender.exception() for sender in senders] == [None] * 8


def test_latency_and_a_concurrency_limit_queue_requests(fault_servers: Factory) -> None:
    server = fault_servers(latency=0.05, max_concurrency=1)[0]
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: httpx.get(f"{server.url}/health"), range(4)))
    assert time.monotonic() - began >= 0.2


def test_chunks_of_a_stream_come_one_by_one(fault_servers: Factory) -> None:
    server = fault_servers(chunk_latency=0.02)[0]
    body = {"stream": True, "messages": [{"role": "user", "content": "hi"}]}
    with httpx.stream("POST", f"{server.url}/chat/completions", json=body) as answer:
        chunks = list(answer.iter_raw())
    assert len(chunks) > 3


def test_another_process_sets_faults_through_the_control_endpoint(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    order = {"fault": "status", "code": 418, "path": "/embeddings"}
    assert http.post("/_fault", json=order).json() == {"fault": "status"}
    assert statuses(http, 1) == [418]
    http.post("/_fault", json={"fault": None, "path": "/embeddings"})
    assert statuses(http, 1) == [200]
    assert len(fault_server.requests) == 2


def test_an_ordered_fault_may_end_by_itself(fault_server: FaultServer, http: httpx.Client) -> None:
    order = {"fault": "refuse", "lasting": 1.0}
    assert http.post("/_fault", json=order).status_code == 200
    with pytest.raises(httpx.TransportError):
        http.get("/health")
    wait_until(lambda: fault_server.fault is None)
    assert http.get("/health").status_code == 200


def test_a_newer_order_outlives_the_end_of_an_older_one(
    fault_server: FaultServer, http: httpx.Client
) -> None:
    http.post("/_fault", json={"fault": "status", "code": 500, "lasting": 0.05})
    http.post("/_fault", json={"fault": "status", "code": 501})
    time.sleep(0.1)
    assert statuses(http, 1) == [501]


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({}, "fault"),
        ({"fault": "explode"}, "explode"),
        ({"fault": "refuse"}, "lasting"),
        ({"fault": "refuse", "lasting": 1, "path": "/rerank"}, "path"),
    ],
)
def test_a_senseless_order_is_refused_with_the_reason(
    fault_server: FaultServer, http: httpx.Client, order: dict[str, object], named: str
) -> None:
    answer = http.post("/_fault", json=order)
    assert answer.status_code == 400
    assert named in answer.json()["detail"]


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "failover_core.testing", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


def test_a_server_of_its_own_process_dies_of_sigkill_and_comes_back_on_its_port() -> None:
    with process("--model", "minilm", "--fault", "status:code=503") as (child, url):
        assert httpx.post(f"{url}/embeddings", json=EMBED).status_code == 503
        httpx.post(f"{url}/_fault", json={"fault": None})
        assert httpx.post(f"{url}/embeddings", json=EMBED).status_code == 400
        child.send_signal(signal.SIGKILL)
        child.wait()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/health")
    with process("--port", url.rpartition(":")[2]) as (child, again):
        assert again == url
        assert httpx.post(f"{url}/embeddings", json=EMBED).status_code == 200
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=5) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.005)
