"""What users and servers get wrong, through every door of both frameworks' embedding classes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from failover_core import AllTargetsFailedError, ConfigurationError, PartialEmbeddingError
from failover_core.testing import FaultServer, faults
from failover_core.testing.language import embed
from langchain_failover import FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding

Servers = tuple[FaultServer, FaultServer]
Rows = list[list[float]]

BATCH = 8
TEXTS = [f"The boat number {number} sails at dawn." for number in range(30)]
SURROGATE = "a name cut in two \ud83d"


def langchain(targets: Any, **settings: Any) -> FailoverEmbeddings:
    return FailoverEmbeddings(targets=targets, model="m", batch_size=BATCH, **settings)


def llamaindex(targets: Any, **settings: Any) -> FailoverEmbedding:
    return FailoverEmbedding(targets=targets, model_name="m", embed_batch_size=BATCH, **settings)


class Door:
    """One way to embed texts.

    Attributes:
        build: makes the framework's class of targets.
    """

    def __init__(self, build: Callable[..., Any], method: str) -> None:
        self.build = build
        self._method = method

    def __call__(self, pool: Any, texts: Any) -> Rows:
        answer = getattr(pool, self._method)(texts)
        return asyncio.run(answer) if asyncio.iscoroutine(answer) else answer


DOORS = {
    "langchain": Door(langchain, "embed_documents"),
    "langchain-async": Door(langchain, "aembed_documents"),
    "llamaindex": Door(llamaindex, "get_text_embedding_batch"),
    "llamaindex-async": Door(llamaindex, "aget_text_embedding_batch"),
}


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> Door:
    """Return one way to embed texts: the test runs once for each of the four."""
    return DOORS[request.param]


@pytest.fixture
def servers() -> Iterator[Servers]:
    """Two servers, healthy until told otherwise."""
    with ExitStack() as stack:
        yield stack.enter_context(FaultServer()), stack.enter_context(FaultServer())


@pytest.fixture
def pool(door: Door, servers: Servers) -> Any:
    """Return a pool over both servers."""
    return door.build([server.url for server in servers], verify="declared")


def expected(texts: list[str]) -> Rows:
    return embed(texts, "m", 384).astype("<f4").tolist()  # type: ignore[no-any-return]


# Texts that are none


NO_TEXTS: dict[str, tuple[Any, str]] = {
    "one string": ("boats", "texts is one string; give a list of strings"),
    "nothing": (None, "texts is NoneType; give a list of strings"),
    "a number": (7, "texts is int"),
    "None behind a whole batch": ([*TEXTS, None], r"texts\[30\] is NoneType; every text must be"),
    "bytes": ([b"boat"], r"texts\[0\] is bytes"),
    "a list": ([*TEXTS[:9], ["boat"]], r"texts\[9\] is list"),
    "NaN of a table": ([*TEXTS[:9], float("nan")], r"texts\[9\] is float"),
}


@pytest.mark.parametrize(("texts", "message"), NO_TEXTS.values(), ids=NO_TEXTS)
def test_what_is_no_text_is_named_by_its_index_before_anything_is_sent(
    texts: Any, message: str, door: Door, pool: Any, servers: Servers
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        door(pool, texts)

    assert not servers[0].requests


def test_no_texts_are_no_request(door: Door, pool: Any, servers: Servers) -> None:
    assert door(pool, []) == door(pool, iter(())) == []
    assert not servers[0].requests


# Texts that are unusual


UNUSUAL: dict[str, Any] = {
    "an empty string": ["", "boat"],
    "a NUL": ["boat\0harbour", "\0"],
    "5 MB": ["harbour " * 650_000, "boat"],
    "strings of numpy": [np.str_("boat"), *np.array(["harbour", "ferry"])],
    "an array of numpy": np.array(["boat", "harbour"]),
    "a generator": iter(TEXTS),
    "a tuple": tuple(TEXTS),
    "keys of a dict": dict.fromkeys(TEXTS).keys(),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_any_text_has_the_vector_that_its_server_gives_it(name: str, door: Door, pool: Any) -> None:
    given = TEXTS if name == "a generator" else [str(text) for text in UNUSUAL[name]]
    texts = iter(given) if name == "a generator" else UNUSUAL[name]

    assert door(pool, texts) == expected(given)


# Texts that cannot be sent


@pytest.mark.parametrize("index", [0, 7, 12, 29])
def test_a_lone_surrogate_is_named_by_its_index_in_the_whole_call(
    index: int, door: Door, pool: Any
) -> None:
    texts = [*TEXTS[:index], SURROGATE, *TEXTS[index + 1 :]]

    with pytest.raises(PartialEmbeddingError, match=rf"texts\[{index}\]") as caught:
        door(pool, texts)

    error = caught.value
    assert isinstance(error.errors[index], ConfigurationError)
    assert "not valid Unicode (a lone surrogate); remove it" in str(error.errors[index])
    assert [*sorted([*error.results, *error.errors])] == list(range(30))
    for place, vector in error.results.items():
        assert vector.tolist() == expected([texts[place]])[0]


def test_it_blames_no_server(door: Door, pool: Any) -> None:
    with pytest.raises(ConfigurationError, match="not valid Unicode"):
        door(pool, [SURROGATE])

    assert {target.failures for target in pool.router.status().targets} == {0}


@pytest.mark.parametrize("name", ["langchain", "langchain-async"])
def test_the_vectors_of_all_other_texts_are_kept(name: str, servers: Servers) -> None:
    pool, texts = langchain([servers[0].url], cache=True), [SURROGATE] * 4 + TEXTS

    with pytest.raises(PartialEmbeddingError) as caught:
        DOORS[name](pool, texts)

    assert set(caught.value.errors) == {0, 1, 2, 3}
    assert np.array_equal(list(caught.value.results.values()), expected(TEXTS))


def test_several_of_them_are_all_named(servers: Servers) -> None:
    texts = [f"{SURROGATE} {number}" for number in range(4)] + TEXTS

    with pytest.raises(PartialEmbeddingError) as caught:
        langchain([servers[0].url]).embed_documents(texts)

    assert set(caught.value.errors) == {0, 1, 2, 3}
    assert len(caught.value.results) == 30


class Strict(Embeddings):
    """Sends texts as UTF-8, as SDKs do."""

    def embed_documents(self, texts: list[str]) -> Rows:
        return [[float(len(text.encode())), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_a_wrapped_object_that_cannot_send_it_is_not_blamed_either() -> None:
    pool = langchain([Strict(), Strict()], verify="declared")

    with pytest.raises(PartialEmbeddingError) as caught:
        pool.embed_documents([*TEXTS, SURROGATE])

    assert isinstance(caught.value.errors[30], UnicodeEncodeError)
    assert {target.failures for target in pool.router.status().targets} == {0}


@pytest.mark.parametrize("framework", [langchain, llamaindex])
@pytest.mark.parametrize(
    ("wrong", "error"), [(None, ConfigurationError), (SURROGATE, PartialEmbeddingError)]
)
def test_in_a_stream_the_index_counts_from_the_first_text_of_all(
    framework: Callable[..., Any], wrong: Any, error: type[Exception], servers: Servers
) -> None:
    many, found = [str(number) for number in range(400)], list[Any]()
    arrays = framework([servers[0].url]).iter_embed([*many, wrong])

    with pytest.raises(error, match=r"texts\[400\]"):
        found.extend(arrays)
    assert 0 < sum(map(len, found)) < 400


# Answers that are none


LIES: dict[str, faults.Fault] = {
    "fewer": faults.WrongCount(-1),
    "none": faults.WrongCount(-BATCH),
    "more": faults.WrongCount(1),
    "an index twice": faults.DuplicateIndex(),
    "an index that no text has": faults.IndexOutOfRange(),
    "NaN": faults.NotFinite(),
    "ragged": faults.RaggedDimensions(),
    "empty": faults.EmptyVectors(),
    "zero": faults.ZeroVectors(),
    "of another dimension": faults.WrongDimension(12),
    "an error inside a 200": faults.ErrorInside200(),
    "no JSON": faults.Garbage(),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_no_vector_of_a_server_that_lies_is_used_and_none_is_shifted(
    lie: faults.Fault, door: Door, servers: Servers
) -> None:
    pool = door.build([server.url for server in servers], dimension=384)
    assert door(pool, TEXTS[:1]) == expected(TEXTS[:1])  # the first is whom the others must match

    servers[0].fault = lie
    assert door(pool, TEXTS) == expected(TEXTS)
    assert servers[1].requests


def test_vectors_in_another_order_are_put_into_that_of_the_texts(
    door: Door, pool: Any, servers: Servers
) -> None:
    servers[0].fault = servers[1].fault = faults.Shuffled()

    assert door(pool, TEXTS) == expected(TEXTS)
    assert door(pool, TEXTS[::-1]) == expected(TEXTS[::-1])


def test_when_every_server_lies_there_are_no_vectors(
    door: Door, pool: Any, servers: Servers
) -> None:
    servers[0].fault, servers[1].fault = faults.WrongCount(-1), faults.NotFinite()

    with pytest.raises(AllTargetsFailedError) as caught:
        door(pool, TEXTS[:5])
    assert caught.value.error_class == "malformed"
