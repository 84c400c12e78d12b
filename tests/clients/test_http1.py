"""The parser alone: every server's bytes end in an answer or in a clean error."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import cast

import httpx
import pytest

from failover_core.clients.http1 import MAX_RECEIVE, Answer, NoAnswerError, Wire, encode, exchange
from failover_core.errors import MalformedResponseError

LIMIT = 1000


def _parse(data: bytes, size: int = 1 << 20) -> Answer:
    """Feed the bytes in pieces of a size, then the end of the stream."""
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    steps = exchange(Wire(b"request"), LIMIT)
    assert next(steps) == b"request"
    received = b""
    while True:
        try:
            wanted = steps.send(received)
        except StopIteration as stop:
            return cast("Answer", stop.value)
        assert isinstance(wanted, int)
        assert 0 < wanted <= MAX_RECEIVE
        received = next(pieces, b"")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("data", "body", "keeps_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", True),
        (b"HTTP/1.1 200\r\nContent-Length: 3, 3\r\n\r\nabc", b"abc", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nConnection: Close\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc", False),
        (
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nConnection: Keep-Alive\r\n\r\nabc",
            b"abc",
            True,
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nabc", b"abc", False),
        (b"HTTP/1.1 204 No\r\n\r\n", b"", True),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
            b"a",
            True,
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%b"
            % b"2;x=y\r\nab\r\n1 \r\nc\r\n0\r\nTrailer: x\r\n\r\n",
            b"abc",
            True,
        ),
    ],
)
def test_a_well_formed_answer_is_read_however_it_is_cut(
    data: bytes, body: bytes, size: int, *, keeps_alive: bool
) -> None:
    answer = _parse(data, size)
    assert (answer.body, answer.keeps_alive) == (body, keeps_alive)


def test_bytes_after_the_answer_end_the_connection() -> None:
    assert not _parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK").keeps_alive


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.0\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x1\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000,
    ],
    ids=lambda data: repr(data[:50]),
)
def test_an_ambiguous_or_broken_answer_is_refused(data: bytes) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        _parse(data)


def test_a_close_without_an_answer_is_told_apart() -> None:
    with pytest.raises(NoAnswerError):
        _parse(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1001,
    ],
    ids=["length", "until close", "one chunk", "many chunks"],
)
def test_a_body_above_the_limit_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedResponseError, match="max_response_bytes"):
        _parse(data)


def test_random_damage_ends_in_an_answer_or_one_of_three_errors() -> None:
    dice = random.Random(7)
    seeds = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX: y\r\n\r\nabcdefghijkl",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 100 C\r\n\r\nHTTP/1.0 404 Not Found\r\n\r\ngone",
    ]
    for _ in range(5000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randint(0, 3)] = dice.choice(
                [b"", b"\r\n", b"\0", b":", b"0", b"f", b"-", dice.randbytes(3)]
            )
        with suppress(httpx.RemoteProtocolError, MalformedResponseError):
            _parse(bytes(data), dice.randint(1, 30))


def test_the_framing_of_a_request_is_never_doubled() -> None:
    request = httpx.Request(
        "POST", "http://a/x?y", headers={"Transfer-Encoding": "chunked"}, content=b"body"
    )
    head, _, body = bytes(encode(request)).partition(b"\r\n\r\n")
    assert head.lower().count(b"content-length: 4") == 1
    assert b"transfer-encoding" not in head.lower()
    assert head.startswith(b"POST /x?y HTTP/1.1\r\n")
    assert body == b"body"


def test_a_request_is_not_shown_by_its_repr() -> None:
    assert repr(Wire(b"secret")) == "<6 bytes>"
