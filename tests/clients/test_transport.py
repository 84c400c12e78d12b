"""Connections: reuse, stale ones, redirects, size, cookies, TLS, and what follows a break."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from failover_core.clients import InfinityClient
from failover_core.embedding.protocol import Kind
from failover_core.errors import AttemptTimeoutError, MalformedResponseError, ResponseStatusError
from failover_core.testing import FaultServer, faults
from tests.clients.servers import KEY, Door, RawServer, answer, vectors

Raw = Callable[..., RawServer]

OK = answer(vectors([1.0]))
CERTIFICATE = str(Path(__file__).with_name("localhost.pem"))


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def test_one_connection_serves_one_request_after_the_other(door: Door, raw_server: Raw) -> None:
    server = raw_server(OK, OK, OK)
    with InfinityClient(server.url, model="m") as client:
        for _ in range(3):
            door.embed(client, ["a"])
    assert server.connections == 1


@pytest.mark.parametrize("last_word", [_close, _reset])
def test_a_connection_that_closes_under_a_request_is_replaced_once(
    door: Door, raw_server: Raw, last_word: Callable[[socket.socket], None]
) -> None:
    server = raw_server(OK, last_word, OK)
    with InfinityClient(server.url, model="m") as client:
        for _ in range(2):
            assert door.embed(client, ["a"]).tolist() == [[1.0]]
    assert (len(server.requests), server.connections) == (3, 2)


def test_a_request_is_sent_again_only_once(door: Door, raw_server: Raw) -> None:
    server = raw_server(OK, _reset, _reset, OK)
    with InfinityClient(server.url, model="m") as client:
        door.embed(client, ["a"])
        with pytest.raises(httpx.TransportError):
            door.embed(client, ["a"])
    assert len(server.requests) == 3


def test_a_request_on_a_new_connection_is_sent_once(door: Door, raw_server: Raw) -> None:
    server = raw_server(_reset, OK)
    with InfinityClient(server.url, model="m") as client, pytest.raises(httpx.TransportError):
        door.embed(client, ["a"])
    assert len(server.requests) == 1


def _cut_short(connection: socket.socket) -> None:
    connection.sendall(OK[:-3])
    _close(connection)


def test_an_answer_that_has_begun_is_not_asked_for_again(door: Door, raw_server: Raw) -> None:
    server = raw_server(OK, _cut_short)
    with InfinityClient(server.url, model="m") as client:
        door.embed(client, ["a"])
        with pytest.raises(httpx.TransportError):
            door.embed(client, ["a"])
    assert len(server.requests) == 2


def test_a_restarted_server_is_reached_over_new_connections(
    door: Door, server: FaultServer
) -> None:
    with InfinityClient(server.url, model="m") as client:
        for _ in range(3):
            door.embed(client, ["a"])
            server.stop()
            server.start()
        door.embed(client, ["a"])


def test_a_refused_connection_is_a_connect_error(door: Door, server: FaultServer) -> None:
    server.stop()
    with InfinityClient(server.url, model="m") as client, pytest.raises(httpx.ConnectError):
        door.embed(client, ["a"])


def test_an_unknown_host_is_a_connect_error(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = InfinityClient("http://no.such.host", model="m")
    with client, pytest.raises(httpx.ConnectError):
        door.embed(client, ["a"])


def test_the_second_address_of_a_host_is_tried(
    door: Door, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = socket.create_server(("127.0.0.1", 0))
    closed_port = dead.getsockname()[1]
    dead.close()
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
        for port in (closed_port, server.port)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with InfinityClient("http://two.addresses", model="m") as client:
        assert len(door.embed(client, ["a"])) == 1


@pytest.mark.parametrize("fault", [faults.Reset(), faults.Reset(5), faults.Truncate()], ids=str)
def test_a_broken_answer_is_a_transport_error(
    door: Door, server: FaultServer, fault: faults.Fault
) -> None:
    server.fault = fault
    with InfinityClient(server.url, model="m") as client, pytest.raises(httpx.TransportError):
        door.embed(client, ["a"])


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "cookie", "body"])
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308, 300])
def test_no_redirect_is_followed(
    door: Door,
    fault_servers: Callable[..., list[FaultServer]],
    code: int,
    header: str,
) -> None:
    server, thief = fault_servers(2)
    server.fault = faults.Redirect(f"{thief.url}/embeddings", code)
    client = InfinityClient(server.url, model="m", api_key=KEY)
    if header not in ("authorization", "body"):
        client._headers[header] = KEY
    with client, pytest.raises(ResponseStatusError, match="not followed") as caught:
        door.embed(client, [KEY])
    assert caught.value.status_code == code
    assert thief.requests == []
    assert KEY in str(server.requests[0].headers)


def test_no_cookie_is_kept(door: Door, raw_server: Raw) -> None:
    biscuit = answer(vectors([1.0]), headers=["Set-Cookie: a=b; Path=/"])
    server = raw_server(biscuit, biscuit)
    with InfinityClient(server.url, model="m") as client:
        door.embed(client, ["a"])
        door.embed(client, ["a"])
    assert b"cookie" not in server.requests[1].lower()


def test_the_environment_names_no_proxy(
    door: Door, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with InfinityClient(server.url, model="m") as client:
        assert len(door.embed(client, ["a"])) == 1


def test_a_huge_body_is_cut_off_at_the_limit(door: Door, server: FaultServer) -> None:
    server.fault = faults.HugeBody()
    limit = 4 << 20
    client = InfinityClient(server.url, model="m", max_response_bytes=limit)
    tracemalloc.start()
    try:
        with client, pytest.raises(MalformedResponseError, match="max_response_bytes"):
            door.embed(client, ["a"])
        assert tracemalloc.get_traced_memory()[1] < limit + (8 << 20)
    finally:
        tracemalloc.stop()


def test_a_compressed_answer_is_refused_unread(door: Door, raw_server: Raw) -> None:
    bomb = gzip.compress(b"x" * 1000)
    server = raw_server(answer(bomb, headers=["Content-Encoding: gzip"]))
    client = InfinityClient(server.url, model="m")
    with client, pytest.raises(MalformedResponseError, match="compressed"):
        door.embed(client, ["a"])


@pytest.fixture
def tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def _localhost(server: RawServer) -> str:
    return f"https://localhost:{server.port}"


def test_tls_carries_large_requests_and_answers_over_one_connection(
    door: Door, raw_server: Raw, tls: ssl.SSLContext
) -> None:
    row = [float(number) for number in range(200_000)]
    server = raw_server(*[answer(vectors(row))] * 3, context=tls)
    with InfinityClient(_localhost(server), model="m", ca_file=CERTIFICATE) as client:
        for _ in range(3):
            assert door.embed(client, ["text" * 100_000]).tolist() == [row]
    assert server.connections == 1


def test_a_stale_tls_connection_is_replaced(
    door: Door, raw_server: Raw, tls: ssl.SSLContext
) -> None:
    server = raw_server(OK, _close, OK, context=tls)
    with InfinityClient(_localhost(server), model="m", ca_file=CERTIFICATE) as client:
        for _ in range(2):
            assert door.embed(client, ["a"]).tolist() == [[1.0]]


def test_an_unknown_certificate_is_refused(
    door: Door, raw_server: Raw, tls: ssl.SSLContext
) -> None:
    server = raw_server(OK, context=tls)
    client = InfinityClient(_localhost(server), model="m")
    with client, pytest.raises(httpx.ConnectError):
        door.embed(client, ["a"])
    assert server.requests == []


def test_a_certificate_of_another_host_is_refused(
    door: Door, raw_server: Raw, tls: ssl.SSLContext
) -> None:
    server = raw_server(OK, context=tls)
    url = f"https://127.0.0.1:{server.port}"
    client = InfinityClient(url, model="m", ca_file=CERTIFICATE)
    with client, pytest.raises(httpx.ConnectError):
        door.embed(client, ["a"])
    assert server.requests == []


def test_a_plain_server_behind_https_is_a_connect_error(door: Door, server: FaultServer) -> None:
    client = InfinityClient(f"https://127.0.0.1:{server.port}", model="m", connect_timeout=0.5)
    with client, pytest.raises((httpx.ConnectError, AttemptTimeoutError)):
        door.embed(client, ["a"])


def test_more_callers_than_connections_wait_their_turn(server: FaultServer) -> None:
    server.latency = 0.01
    client = InfinityClient(server.url, model="m", max_connections=3)

    async def crowd() -> None:
        found = await asyncio.gather(*(client.aembed(["a"], Kind.QUERY) for _ in range(30)))
        assert len(found) == 30

    threads = [threading.Thread(target=client.embed, args=(["a"], Kind.QUERY)) for _ in range(5)]
    for thread in threads:
        thread.start()
    asyncio.run(crowd())
    for thread in threads:
        thread.join()
    client.close()


def test_waiting_for_a_turn_ends_at_the_deadline(server: FaultServer) -> None:
    server.fault = faults.Hang()
    client = InfinityClient(server.url, model="m", max_connections=1, timeout=0.3)

    async def crowd() -> list[Any]:
        calls = [client.aembed(["a"], Kind.QUERY) for _ in range(3)]
        found = await asyncio.gather(*calls, return_exceptions=True)
        server.fault = None
        assert len(await client.aembed(["a"], Kind.QUERY)) == 1
        return found

    started = time.monotonic()
    assert [type(error) for error in asyncio.run(crowd())] == [AttemptTimeoutError] * 3
    assert time.monotonic() - started < 2
    client.close()


def test_a_cancelled_call_leaves_nothing_behind(server: FaultServer) -> None:
    server.fault = faults.Hang()
    client = InfinityClient(server.url, model="m", max_connections=4)

    async def storm() -> None:
        tasks = [asyncio.create_task(client.aembed(["a"], Kind.QUERY)) for _ in range(50)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        server.fault = None
        assert len(await client.aembed(["a"], Kind.QUERY)) == 1

    asyncio.run(storm())
    client.close()
