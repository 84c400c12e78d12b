"""What holds for every client alike: bad input, lying servers, and failover among vendors."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from failover_core import Router
from failover_core.clients import (
    PROVIDERS,
    EmbeddingEndpoint,
    HealthEndpoint,
    RequestLimits,
    RerankEndpoint,
    clients_from_urls,
    metered,
)
from failover_core.embedding.protocol import EmbeddingClient
from failover_core.errors import (
    ConfigurationError,
    ErrorClass,
    MalformedResponseError,
    ResponseStatusError,
)
from failover_core.reranking.protocol import RerankClient
from failover_core.testing import FaultServer, faults
from tests.clients.servers import KEY, Door

EMBEDDING = [name for name, kind in PROVIDERS.items() if issubclass(kind, EmbeddingEndpoint)]
RERANKING = [name for name, kind in PROVIDERS.items() if issubclass(kind, RerankEndpoint)]
INDEXED = {"infinity", "openai", "jina", "voyage"}
TEXTS = [f"text number {number}" for number in range(8)]

Serve = Callable[..., FaultServer]

BASE = {"openai": "/v1", "jina": "/v1", "voyage": "/v1"}


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(provider: str, **settings: Any) -> FaultServer:
            return stack.enter_context(FaultServer(provider=provider, **settings))

        yield start


def connect(provider: str, server: FaultServer, **options: Any) -> Any:
    url = server.url + BASE.get(provider, "")
    return PROVIDERS[provider](url, **{"model": "m", **options})


# --- what goes in ----------------------------------------------------------------------------


_NO_TEXTS: list[Any] = [
    *("one text", ["a", 1], ["a", None], [b"a"], [["a"]], None, 7),
    *(["fine", "\ud800"], ["\udfff tail"]),
]


@pytest.mark.parametrize("provider", EMBEDDING)
def test_what_is_no_text_is_refused_before_anything_is_sent(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider)
    with connect(provider, server) as client:
        for texts in _NO_TEXTS:
            with pytest.raises(ConfigurationError):
                door.embed(client, texts)
            if isinstance(client, RerankEndpoint):
                with pytest.raises(ConfigurationError):
                    door.rerank(client, texts)
    assert server.requests == []


def test_the_text_that_is_not_valid_unicode_is_named_by_its_place(door: Door, serve: Serve) -> None:
    with connect("cohere", serve("cohere")) as client:
        with pytest.raises(ConfigurationError, match=r"^/v2/embed: texts\[1\] of the request is"):
            door.embed(client, ["fine", "\ud800"])
        with pytest.raises(ConfigurationError, match=r"^/v2/rerank: query is not valid"):
            door.rerank(client, ["fine"], query="\udfff")


@pytest.mark.parametrize("provider", RERANKING)
def test_a_query_that_is_no_text_is_refused_before_it_is_sent(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider)
    queries: list[Any] = [None, 7, ["q"], "\ud800"]
    with connect(provider, server) as client:
        for query in queries:
            with pytest.raises(ConfigurationError):
                door.rerank(client, ["a"], query=query)
    assert server.requests == []


_UNUSUAL: list[list[Any]] = [
    ["", "a"],
    ["a\0b", "\0"],
    ["\n\t \u2028\u202e\ufeff", "🙂"],
    ["five megabytes " * 333_334],
    list(np.array(["numpy", "strings"])),
]


@pytest.mark.parametrize("provider", EMBEDDING)
def test_any_other_text_is_sent_as_it_is(door: Door, serve: Serve, provider: str) -> None:
    server = serve(provider)
    with connect(provider, server) as client:
        for texts in _UNUSUAL:
            server.clear()
            assert door.embed(client, texts).shape == (len(texts), 384)
            sent = server.requests[0].body
            assert sent[(client.packed_wire or client.embedding_wire).texts] == texts
            if isinstance(client, RerankEndpoint):
                ranked = door.rerank(client, texts)
                assert {rank.index for rank in ranked} == set(range(len(texts)))


@pytest.mark.parametrize("provider", EMBEDDING)
def test_a_generator_is_read_once_and_no_text_needs_no_request(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider)
    with connect(provider, server) as client:
        assert door.embed(client, (text for text in TEXTS)).shape == (8, 384)  # type: ignore[arg-type]
        server.clear()
        assert door.embed(client, []).shape == (0, 0)
        if isinstance(client, RerankEndpoint):
            assert door.rerank(client, []) == []
    assert server.requests == []


# --- what comes out --------------------------------------------------------------------------


@pytest.mark.parametrize("provider", EMBEDDING)
@pytest.mark.parametrize("offers_base64", [True, False])
def test_each_text_gets_its_own_vector(
    door: Door, serve: Serve, provider: str, *, offers_base64: bool
) -> None:
    server = serve(provider, offers_base64=offers_base64)
    with connect(provider, server) as client:
        together = door.embed(client, TEXTS)
        alone = np.concatenate([door.embed(client, [text]) for text in TEXTS])
        np.testing.assert_allclose(together, alone, atol=1e-6)
        server.fault = faults.Shuffled()
        np.testing.assert_allclose(door.embed(client, TEXTS), together, atol=1e-6)


_LIES: list[faults.Fault] = [
    faults.WrongCount(-1),
    faults.WrongCount(-8),
    faults.WrongCount(1),
    faults.NotFinite(),
    faults.NotFinite(literal=True),
    faults.RaggedDimensions(),
    faults.EmptyVectors(),
    faults.Garbage(),
    faults.Garbage("[]"),
    faults.Garbage("{}"),
    faults.Garbage("null"),
]
_LIES_OF_PLACE: list[faults.Fault] = [faults.DuplicateIndex(), faults.IndexOutOfRange()]


@pytest.mark.parametrize("provider", EMBEDDING)
@pytest.mark.parametrize("offers_base64", [True, False])
def test_vectors_that_cannot_be_these_texts_are_malformed(
    door: Door, serve: Serve, provider: str, *, offers_base64: bool
) -> None:
    server = serve(provider, offers_base64=offers_base64)
    with connect(provider, server) as client:
        for lie in _LIES + (_LIES_OF_PLACE if provider in INDEXED else []):
            server.fault = lie
            with pytest.raises(MalformedResponseError):
                door.embed(client, TEXTS)


@pytest.mark.parametrize("provider", RERANKING)
def test_ranks_that_cannot_be_of_these_documents_are_malformed(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider)
    about_vectors = (faults.RaggedDimensions, faults.EmptyVectors)
    with connect(provider, server) as client:
        for lie in [*_LIES, *_LIES_OF_PLACE]:
            if not isinstance(lie, about_vectors):
                server.fault = lie
                with pytest.raises(MalformedResponseError):
                    door.rerank(client, TEXTS)


@pytest.mark.parametrize("provider", EMBEDDING)
def test_a_server_that_ignores_the_wanted_dimension_is_found_out(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider)
    with connect(provider, server, output_dimension=16) as client:
        assert door.embed(client, TEXTS).shape == (8, 16)
        server.fault = faults.WrongDimension(384)
        with pytest.raises(MalformedResponseError, match="384 numbers, not 16"):
            door.embed(client, TEXTS)


@pytest.mark.parametrize("provider", sorted(set(EMBEDDING) - {"ollama"}))
def test_a_wrong_key_is_an_auth_error_and_a_right_one_serves(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider, api_key=KEY)
    with connect(provider, server, api_key="wrong") as client:
        with pytest.raises(ResponseStatusError) as caught:
            door.embed(client, TEXTS)
        assert caught.value.error_class is ErrorClass.AUTH
    with connect(provider, server, api_key=KEY) as client:
        assert len(door.embed(client, TEXTS)) == len(TEXTS)


@pytest.mark.parametrize("provider", sorted(set(EMBEDDING) - {"tei"}))
def test_an_unknown_model_is_another_targets_business(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider, models=["other"])
    with connect(provider, server) as client, pytest.raises(ResponseStatusError) as caught:
        door.embed(client, TEXTS)
    assert caught.value.error_class is ErrorClass.MODEL_NOT_FOUND


@pytest.mark.parametrize("provider", [name for name in EMBEDDING if name != "ollama"])
def test_more_texts_than_the_limit_are_too_many_and_as_many_are_served(
    door: Door, serve: Serve, provider: str
) -> None:
    server = serve(provider, dimension=4)
    with connect(provider, server) as client:
        most = client.limits.items
        assert len(door.embed(client, ["a"] * most)) == most
        with pytest.raises(ResponseStatusError) as caught:
            door.embed(client, ["a"] * (most + 1))
    assert caught.value.error_class is ErrorClass.INPUT_TOO_LARGE


@pytest.mark.parametrize("provider", EMBEDDING)
def test_the_tokens_of_each_answer_are_metered(door: Door, serve: Serve, provider: str) -> None:
    with connect(provider, serve(provider)) as client, metered() as outer:
        with metered() as usage:
            door.embed(client, ["three little words", "two more"])
        door.embed(client, ["another", "few"])
    assert usage.tokens >= len(["three", "little", "words", "two", "more"])
    assert outer.tokens == usage.tokens + outer.answers[-1] > usage.tokens


# --- what a client is ------------------------------------------------------------------------


@pytest.mark.parametrize(("provider", "kind"), PROVIDERS.items())
def test_a_client_is_what_the_core_asks_of_one_and_no_more(provider: str, kind: Any) -> None:
    client = kind("http://127.0.0.1:9", model="m", timeout=3)
    assert isinstance(client, EmbeddingClient) is (provider in EMBEDDING)
    assert isinstance(client, RerankClient) is (provider in RERANKING)
    assert hasattr(client, "check_health") is isinstance(client, HealthEndpoint)
    assert isinstance(client.limits, RequestLimits)
    copied = pickle.loads(pickle.dumps(client))  # noqa: S301 - made on this line
    assert copied._settings == client._settings


def test_ollama_cannot_rerank() -> None:
    assert set(PROVIDERS) - set(RERANKING) == {"ollama"}


@pytest.mark.parametrize("provider", ["cohere", "jina", "voyage"])
def test_a_hosted_vendor_needs_only_a_key_and_is_a_target_for_each(provider: str) -> None:
    clients = clients_from_urls(model="m", provider=provider, api_key="k1,k2")
    assert [client._settings.secret for client in clients] == ["k1", "k2"]
    assert {client._settings.base_url for client in clients} == {PROVIDERS[provider].default_url}
    assert PROVIDERS[provider](model="m")._settings.base_url.startswith("https://api.")


@pytest.mark.parametrize("provider", ["infinity", "openai", "tei"])
def test_a_server_of_ones_own_needs_its_url(provider: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^urls: are missing"):
        clients_from_urls(model="m", provider=provider)
    with pytest.raises(ConfigurationError, match=r"^base_url: is missing"):
        PROVIDERS[provider](model="m")


@pytest.mark.parametrize(
    ("provider", "option"),
    [
        ("infinity", {"truncate": True}),
        ("openai", {"truncate": False}),
        ("openai", {"query_task": "query"}),
        ("ollama", {"passage_task": "passage"}),
        ("cohere", {"output_dimension": 0}),
        ("cohere", {"input_type": "x"}),
    ],
)
def test_an_option_that_a_vendor_has_no_word_for_is_refused(
    provider: str, option: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        PROVIDERS[provider]("http://a", model="m", **option)


# --- among vendors ---------------------------------------------------------------------------


def test_any_vendors_reranker_stands_in_for_any_other(door: Door, serve: Serve) -> None:
    servers = {provider: serve(provider) for provider in RERANKING}
    clients = {name: connect(name, server, name=name) for name, server in servers.items()}
    router = Router(list(clients.values()))
    documents = ["bread", "a volcano erupts", "the stock exchange"]
    for alive in RERANKING:
        for name, server in servers.items():
            server.fault = None if name == alive else faults.Status(500)
            server.clear()
        router.reset()
        ranked = router.run(lambda client: door.rerank(client, documents, 2, query="volcano"))
        assert (ranked[0].index, len(ranked)) == (1, 2)
        assert [name for name, server in servers.items() if server.served] == [alive]
    for client in clients.values():
        client.close()
