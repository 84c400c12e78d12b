"""Answers of servers, mutated: in their documents, their bytes, their headers and framing."""

from __future__ import annotations

import base64
import gzip
import json
import random
import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.clients.servers import KEY

TEXTS = ["a lighthouse", "a harbour", "a ship"]
DIMENSION = 4

_ROWS: list[list[float]] = [[0.5, -0.25, 0.125, 1.0], [1e-8, 2.0, -3.5, 0.0], [7, 8, 9, 10]]
_PACKED = [base64.b64encode(struct.pack("<4f", *row)).decode() for row in _ROWS]

VECTORS: dict[str, Any] = {
    "object": "list",
    "model": "m",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
    "data": [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(_ROWS)],
}
PACKED = VECTORS | {"data": [{"index": n, "embedding": row} for n, row in enumerate(_PACKED)]}
RANKS: dict[str, Any] = {
    "object": "rerank",
    "results": [
        {"index": n, "relevance_score": score, "document": TEXTS[n]}
        for n, score in ((1, 0.9), (0, 0.5), (2, -3.25))
    ],
}
_USAGE = {"usage": {"total_tokens": 9}}
_BILLED = {"id": "x", "meta": {"billed_units": {"input_tokens": 9}}}
_LISTED = [{"index": rank["index"], "score": rank["relevance_score"]} for rank in RANKS["results"]]
ANSWERS: list[tuple[str, str, Any]] = [
    *[(name, "embed", found) for name in ("infinity", "openai") for found in (VECTORS, PACKED)],
    *[(name, "rerank", RANKS) for name in ("infinity", "openai", "jina")],
    *[(name, "embed", PACKED | _USAGE) for name in ("jina", "voyage", "tei")],
    ("voyage", "rerank", {"object": "list", "data": RANKS["results"]} | _USAGE),
    ("tei", "rerank", _LISTED),
    ("tei with a prompt", "embed", _ROWS),
    ("cohere", "embed", {"embeddings": {"base64": _PACKED}} | _BILLED),
    ("cohere", "embed", {"embeddings": {"float": _ROWS}} | _BILLED),
    ("cohere", "rerank", {"results": RANKS["results"]} | _BILLED),
    ("ollama", "embed", {"embeddings": _ROWS, "prompt_eval_count": 9}),
]
"""Client, what is asked of it, and a healthy answer."""

COMPLAINTS: list[Any] = [
    {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": 429}},
    {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}},
    {"error": "Model is overloaded", "error_type": "overloaded"},
    {"detail": [{"loc": ["body", "input"], "msg": "field required", "type": "missing"}]},
    {"detail": "Invalid model: m"},
    {"id": "x", "message": f"invalid api token {KEY}"},
    {"error": "Input validation error", "error_type": "Validation"},
    {"object": "error", "message": "This model's maximum context length is 8 tokens", "code": 400},
    "Internal Server Error",
    None,
]

_STATUSES = [
    *[200] * 60,
    *(201, 202, 203, 204, 206, 226, 299, 300, 301, 304, 307, 399, 400, 401, 402, 403, 404, 408),
    *(409, 413, 422, 425, 429, 451, 499, 500, 502, 503, 504, 529, 599, 600, 999),
]
_HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 0.0, -0.0, 0.5, 1e38, 3.5e38),
    *(
        1e308,
        5e-324,
        "",
        "0",
        "NaN",
        "null",
        KEY,
        "\x00",
        "é",
        "\U0001d518" * 50,
        "x" * 5_000,
        [],
        {},
        [[]],
    ),
    *([None], {"index": 0}, [1, [2]], ["a", 1], "AAAA", "AAAAAAAAAAA=", "====", _PACKED[0] + "A"),
    *(_PACKED[0][:-3], {"embedding": []}, [0.0] * 1_000, [True] * DIMENSION, ["1"] * DIMENSION),
    *([1e39] * DIMENSION, [2**70] * DIMENSION, [[0.0] * DIMENSION], "AACAfwAAgH8AAIB/AACAfw=="),
]
_LITERALS = [
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 400, b"0." + b"1" * 400),
    *(b'"\\ud800"', b"[" * 2_000, b"[" * 2_000 + b"]" * 2_000, b'{"a":' * 1_000, b"//", b"\xff"),
    *(b"0x10", b"01", b"+1", b"1.", b".5", b"'a'", b"undefined", b"\xed\xa0\x80", b"\x00"),
]
_RETRY_AFTER = [
    *("1", "0", "-1", "nan", "inf", "1e400", "9" * 400, "1.5", "soon", "", " 3 ", "1,2", "٣"),
    *("Wed, 21 Oct 2999 07:28:00 GMT", "Wed, 31 Feb 2026 25:61:61 GMT", "0001-01-01", "\t5", KEY),
]
_HEADERS: list[tuple[str, list[str]]] = [
    ("Content-Type", ["text/html", "application/json; charset=bogus", "a/b; charset=utf-7", ";;;"]),
    ("Content-Encoding", ["gzip", "br", "identity", "identity, gzip", "bogus", "", "é"]),
    ("Location", ["http://127.0.0.1:9/", "//", "é", "x" * 3_000]),
    ("Set-Cookie", ["a=b", "=", "a=b; expires=never; Max-Age=1e9", ";" * 100]),
    ("Content-Length", ["0", "1", "5", "-1", "1e3", "99999999999999999999", "x", "+5", "0x5"]),
    ("Transfer-Encoding", ["chunked", "gzip, chunked", "bogus", "identity"]),
    ("Connection", ["close", "keep-alive", "upgrade", "é"]),
    ("Upgrade", ["websocket", "h2c"]),
    ("X-Long", ["x" * 9_000]),
    ("X-Raw", ["\xff\xfe", "\x01", "a\x00b"]),
]

Bytes = Callable[[random.Random, bytes], bytes]


def document(dice: random.Random, healthy: Any) -> Any:
    """Return a healthy document with a few wounds, or a complaint with some."""
    found = deepcopy(dice.choice(COMPLAINTS) if dice.random() < 0.3 else healthy)
    for _ in range(dice.choice((0, 1, 1, 1, 2, 3))):
        found = _wounded(dice, found)
    return found


def _wounded(dice: random.Random, found: Any) -> Any:
    """Return a document with one of its values replaced, removed or repeated."""
    places = list(_places(found))
    if not places or dice.random() < 0.03:
        return deepcopy(dice.choice(_HOSTILE))
    parent, key = dice.choice(places)
    match dice.randrange(4):
        case 0 if isinstance(parent, list):
            parent.insert(key, deepcopy(parent[dice.randrange(len(parent))]))
        case 1:
            del parent[key]
        case _:
            parent[key] = deepcopy(dice.choice(_HOSTILE))
    return found


def _places(found: Any) -> list[tuple[Any, Any]]:
    """Return where the values of a document are: containers and keys."""
    places: list[tuple[Any, Any]] = []
    waiting = [found]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            keys: list[Any] = list(value)
        elif isinstance(value, list):
            keys = list(range(len(value)))
        else:
            continue
        places += [(value, key) for key in keys]
        waiting += [value[key] for key in keys]
    return places


def body(dice: random.Random, healthy: Any) -> bytes:
    """Return the bytes of a document, some of them wounded too."""
    data = json.dumps(document(dice, healthy)).encode()
    if dice.random() < 0.7:
        return data
    return dice.choice(_BYTES)(dice, data)


def _cut(dice: random.Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data))]


def _flip(dice: random.Random, data: bytes) -> bytes:
    spoilt = bytearray(data)
    for _ in range(dice.randint(1, 5)):
        spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
    return bytes(spoilt)


def _insert(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + dice.choice(_LITERALS) + data[at:]


def _number(dice: random.Random, data: bytes) -> bytes:
    """Replace a number by something that only some take for one."""
    places = [at for at, byte in enumerate(data) if chr(byte) in "0123456789"]
    at = dice.choice(places or [0])
    return data[:at] + dice.choice(_LITERALS) + data[at + 1 :]


_BYTES: list[Bytes] = [
    *(_cut, _flip, _flip, _insert, _number, _number),
    lambda _, data: b"\xef\xbb\xbf" + data,
    lambda _, data: data.decode().encode("utf-16"),
    lambda _, data: gzip.compress(data, mtime=0),
    lambda _, data: data + data,
    lambda _, data: b"data: " + data + b"\n\ndata: [DONE]\n\n",
    lambda dice, _: dice.randbytes(dice.randrange(200)),
    lambda *_: b"",
    lambda *_: b"<html><body>upstream is on holiday</body></html>",
]


def status(dice: random.Random) -> int:
    """Return a status, that of a success in every other answer."""
    return dice.choice(_STATUSES)


def headers(dice: random.Random) -> list[tuple[str, str]]:
    """Return headers beside those of the framing, most often none."""
    found = []
    if dice.random() < 0.2:
        found.append(("Retry-After", dice.choice(_RETRY_AFTER)))
    for _ in range(dice.choice((0, 0, 0, 1, 2))):
        name, values = dice.choice(_HEADERS)
        found.append((name, dice.choice(values)))
    return found


def response(dice: random.Random, healthy: Any) -> bytes:
    """Return a whole response as it goes over the wire."""
    content = body(dice, healthy)
    lines = [f"HTTP/1.1 {status(dice)} {dice.choice(('OK', '', 'Ä', 'x' * 500))}".encode("latin-1")]
    lines += [f"{name}: {value}".encode() for name, value in headers(dice)]
    framing = dice.randrange(4)
    if framing == 0:
        lines.append(b"Transfer-Encoding: chunked")
        content = _chunked(dice, content)
    elif framing < 3:
        lines.append(b"Content-Length: %d" % (len(content) + dice.choice((0, 0, 0, 0, -1, 1, 99))))
    found = b"\r\n".join(lines) + b"\r\n\r\n" + content
    if dice.random() < 0.1:
        found = dice.choice((_cut, _flip, _insert))(dice, found)
    return found


def _chunked(dice: random.Random, content: bytes) -> bytes:
    sizes = ("%x", "%X", "0%x", "%x;a=b", "-%x", "g%x", "%x ", "\n%x")
    pieces = []
    while content:
        at = dice.randint(1, len(content))
        head = (sizes[0] if dice.random() < 0.9 else dice.choice(sizes)) % at
        pieces.append(head.encode() + b"\r\n" + content[:at] + b"\r\n")
        content = content[at:]
    return b"".join(pieces) + dice.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b""))
