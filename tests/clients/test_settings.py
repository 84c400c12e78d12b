"""What a client accepts when it is built, and where its key goes."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from failover_core.clients import (
    PROVIDERS,
    InfinityClient,
    OpenAICompatibleClient,
    clients_from_urls,
)
from failover_core.embedding.protocol import EmbeddingClient
from failover_core.errors import ConfigurationError
from failover_core.reranking.protocol import RerankClient
from failover_core.testing import FaultServer, faults
from tests.clients.servers import KEY, Door, RawServer, answer

URL = "http://127.0.0.1:7997"


def test_a_client_is_what_the_core_asks_of_one() -> None:
    client = InfinityClient(URL, model="m")
    assert isinstance(client, EmbeddingClient)
    assert isinstance(client, RerankClient)
    assert (client.name, client.model, client.default_attempt_timeout) == (
        "127.0.0.1:7997",
        "m",
        30.0,
    )
    assert client.enforces_deadline
    assert client.limits.items == 2048


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "https://a.b.c:8443/v1",
        " http://a:7997/ ",
        "http://a:7997///",
        "HTTP://A:7997",
        "http://[::1]:7997/v1",
        "http://127.0.0.1",
        "http://under_score:80",
        "http://bücher.example",
        "http://a.",
    ],
)
def test_a_usable_url_is_taken(url: str) -> None:
    base_url = InfinityClient(url, model="m")._settings.base_url
    assert base_url == base_url.strip(" /")
    assert base_url.startswith("http")


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "/",
        "a:7997",
        "a",
        "//a:7997",
        "ftp://a",
        "file:///etc/passwd",
        "unix:/run/x",
        "javascript:alert(1)",
        "http://",
        "http:///v1",
        "http:a",
        "http://:7997",
        "http://a:0",
        "http://a:65536",
        "http://a:99999999999",
        "http://a:x",
        "http://a:-1",
        "http://user@a",
        "http://user:password@a",
        "http://@a",
        "http://a@b@c",
        "http://a\\@b",
        "http://a\\b",
        "http://a/?",
        "http://a?key=x",
        "http://a/#",
        "http://a#b",
        "http://a b",
        "http://a/b c",
        "http://a\nb",
        "http://a\r\nHost: b",
        "http://a\tb",
        "http://a\0b",
        "http://a\x7fb",
        "http://a..b",
        "http://.a",
        "http://-a",
        "http://" + "a" * 64,
        "http://" + "a." * 127 + "com",
        "http://[::1",
        "http://[zz]",
        "http://a]",
        "http://a,b",
        "http://a;b",
        "http://a|b",
        "http://a%00b",
        "http://a%2fb",
        "http://%61",
        "http://{a}",
        "http://a<b>",
        "http://a'b",
        'http://a"b',
        "http://*",
        "http://xn--\u0661",
        "http://\u202ea",
    ],
)
def test_any_other_url_is_an_error_that_names_the_field(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        InfinityClient(url, model="m")


@pytest.mark.parametrize(
    "url", [f"http://user:{KEY}@a:7997", f"//user:{KEY}@a", f"{KEY}@a", KEY, f"http://a?key={KEY}"]
)
def test_a_key_in_the_url_is_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url") as caught:
        InfinityClient(url, model="m")
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""),
        ("model", "  "),
        ("model", None),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", None),
        ("connect_timeout", float("nan")),
        ("connect_timeout", 0),
        ("max_connections", 0),
        ("max_response_bytes", 0),
        ("name", ""),
        ("time_out", 1),
        ("api_key", 7),
    ],
)
def test_a_setting_out_of_range_is_an_error_that_names_it(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=field):
        InfinityClient(URL, **({"model": "m"} | {field: value}))


@pytest.mark.parametrize("damage", ["\n", "\r\n", " ", "\t", "é", "\0", "\x7f", "\u200b"])
@pytest.mark.parametrize("place", ["front", "middle", "end"])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(damage: str, place: str) -> None:
    at = {"front": 0, "middle": 9, "end": len(KEY)}[place]
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        InfinityClient(URL, model="m", api_key=KEY[:at] + damage + KEY[at:])
    assert KEY[10:] not in "".join(traceback.format_exception(caught.value))


def test_an_empty_key_is_none(door: Door, server: FaultServer) -> None:
    with InfinityClient(server.url, model="m", api_key="") as client:
        door.embed(client, ["a"])
    assert "authorization" not in server.requests[0].headers


def test_a_key_may_be_named_by_its_environment_variable(
    door: Door, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFINITY_TOKEN", KEY)
    with InfinityClient(server.url, model="m", api_key="${INFINITY_TOKEN}") as client:
        stored = pickle.dumps(client)
        assert KEY.encode() not in stored
        with pickle.loads(stored) as copied:  # noqa: S301 - made two lines above
            door.embed(copied, ["a"])
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_variable_that_is_not_set_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("INFINITY_TOKEN", raising=False)
    with pytest.raises(ConfigurationError, match="INFINITY_TOKEN"):
        InfinityClient(URL, model="m", api_key="${INFINITY_TOKEN}")


def test_a_key_given_itself_is_never_pickled() -> None:
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        pickle.dumps(InfinityClient(URL, model="m", api_key=KEY))
    assert KEY not in str(caught.value)


def test_a_client_without_a_key_pickles_with_its_settings() -> None:
    client = OpenAICompatibleClient(f"{URL}/v1", model="m", name="a", timeout=3, ca_file=None)
    copied = pickle.loads(pickle.dumps(client))  # noqa: S301 - made on this line
    assert type(copied) is OpenAICompatibleClient
    assert copied._settings == client._settings


def test_a_deep_copy_has_the_key_and_connections_of_its_own(
    door: Door, server: FaultServer
) -> None:
    with InfinityClient(server.url, model="m", api_key=KEY) as client:
        door.embed(client, ["a"])
        with copy.deepcopy(client) as copied:
            assert copied._transport is not client._transport
            door.embed(copied, ["a"])
    assert server.requests[1].headers["authorization"] == f"Bearer {KEY}"


class _Echo:
    """Answers with what it was sent, in every place where a careless client would show it."""

    def __init__(self, status: str) -> None:
        document = {
            "error": {"message": f"bad key {KEY} in {KEY}", "code": KEY, "type": f"x.{KEY}"},
            "detail": [{"type": KEY, "msg": KEY, "input": [KEY]}],
        }
        self.bytes = answer(document, status=status, headers=[f"Retry-After: {KEY}"])


_FAILURES: list[bytes | None] = [
    _Echo("401 " + KEY).bytes,
    _Echo("422 X").bytes,
    _Echo("500 X").bytes,
    _Echo("307 X").bytes,
    _Echo("200 OK").bytes,
    answer(KEY.encode()),
    answer({"data": KEY}),
    answer({"data": [{"index": KEY, "embedding": KEY}]}),
    answer({"data": [{"index": 0, "embedding": KEY}]}),
    f"{KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode(),
    f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n".encode(),
    None,
]


@pytest.mark.parametrize("reply", _FAILURES, ids=lambda reply: repr(reply)[:60])
def test_no_failure_shows_the_key(
    door: Door,
    raw_server: Callable[..., RawServer],
    caplog: pytest.LogCaptureFixture,
    reply: bytes | None,
) -> None:
    caplog.set_level(logging.DEBUG)
    server = raw_server(*[reply, reply] if reply else [])
    client = InfinityClient(server.url, model="m", api_key=KEY)
    with client, pytest.raises(Exception) as caught:  # noqa: PT011 - each failure has its own type
        door.embed(client, ["a"])
    error: BaseException | None = caught.value
    shown = [repr(client), str(client), repr(vars(client)), _own_logs(caplog)]
    shown.append(_with_locals(caught.value))
    while error is not None:
        shown += [str(error), repr(error), repr(error.args), repr(vars(error))]
        shown.append(pickle.dumps(error).decode("latin-1"))
        error = error.__cause__ or error.__context__
    assert [text for text in shown if KEY in text] == []


def _own_logs(caplog: pytest.LogCaptureFixture) -> str:
    """What this library logs; httpcore logs the heads of answers itself, at DEBUG."""
    own = [record for record in caplog.records if record.name.startswith("failover_core")]
    return "\n".join(record.getMessage() for record in own)


def _with_locals(error: BaseException) -> str:
    """A traceback with the local variables of the library's frames."""
    summary = traceback.TracebackException.from_exception(error, capture_locals=True)
    text = io.StringIO()
    seen: traceback.TracebackException | None = summary
    while seen is not None:
        for frame in seen.stack:
            if "failover_core/clients" in frame.filename:
                # What the server said may be on the way; what we hold may not be shown.
                locals_ = frame.locals or {}
                kept = ("self", "request", "wire", "step", "operation", "connection", "error")
                text.write(str([locals_[name] for name in kept if name in locals_]))
        seen = seen.__cause__ or seen.__context__
    return text.getvalue()


def test_importing_the_core_loads_no_async_http_library() -> None:
    assert "aiohttp" not in _modules_after("import failover_core.clients")


def _modules_after(code: str) -> str:
    import subprocess  # noqa: PLC0415 - only here
    import sys  # noqa: PLC0415

    program = f"{code}\nimport sys\nprint(*sys.modules)"
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout


def test_urls_may_be_a_text_with_spaces_and_a_trailing_comma() -> None:
    clients = clients_from_urls(" http://a:1/ ,http://b:2 , ", model="m", timeout=3)
    assert [client.name for client in clients] == ["a:1", "b:2"]
    assert {type(client) for client in clients} == {InfinityClient}
    assert {client.default_attempt_timeout for client in clients} == {3}


def test_urls_may_be_a_list() -> None:
    clients = clients_from_urls(["http://a:1", "http://b:2"], model="m", provider="OpenAI ")
    assert {type(client) for client in clients} == {OpenAICompatibleClient}


@pytest.mark.parametrize("urls", ["", " , ", [], ["", " "]])
def test_no_url_is_an_error(urls: Any) -> None:
    with pytest.raises(ConfigurationError, match="urls"):
        clients_from_urls(urls, model="m")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (None, [None, None, None]),
        ("k1", ["k1", "k1", "k1"]),
        ("k1, k2,", ["k1", "k2", "k2"]),
        (["k1", "k2", "k3"], ["k1", "k2", "k3"]),
        (["k1", None, "k3"], ["k1", None, "k3"]),
        ("k1,,k3", ["k1", None, "k3"]),
        ([], [None, None, None]),
    ],
)
def test_keys_are_paired_with_urls_and_the_last_one_is_reused(
    keys: Any, expected: list[str | None]
) -> None:
    clients = clients_from_urls("http://a,http://b,http://c", model="m", api_key=keys)
    assert [client._settings.secret for client in clients] == expected


def test_more_keys_than_urls_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="api_key: 2 keys for 1"):
        clients_from_urls("http://a", model="m", api_key="k1,k2")


@pytest.mark.parametrize(
    ("provider", "hint"),
    [("infinty", "did you mean 'infinity'"), ("xyz", "known: cohere, infinity")],
)
def test_an_unknown_provider_is_an_error_that_names_the_known(provider: str, hint: str) -> None:
    with pytest.raises(ConfigurationError, match=hint) as caught:
        clients_from_urls("http://a", model="m", provider=provider)
    assert all(name in str(caught.value) for name in PROVIDERS)


def test_a_bad_url_among_several_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        clients_from_urls("http://a,b:7997", model="m")


def test_a_closed_client_can_be_used_again(door: Door, server: FaultServer) -> None:
    client = InfinityClient(server.url, model="m")
    for _ in range(2):
        door.embed(client, ["a"])
        client.close()


def test_a_transport_error_names_no_secret_url_part(door: Door, server: FaultServer) -> None:
    server.fault = faults.Reset()
    client = InfinityClient(server.url, model="m", api_key=KEY)
    with client, pytest.raises(httpx.TransportError) as caught:
        door.embed(client, ["a"])
    assert KEY not in str(caught.value)


def test_a_url_that_cannot_be_used_is_named_by_its_place() -> None:
    with pytest.raises(ConfigurationError, match=r"^urls\[1\]: base_url: must start with http"):
        clients_from_urls("http://a:7997, gpu-2:7997", model="m")
