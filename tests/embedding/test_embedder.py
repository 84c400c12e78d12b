"""Embedding over a pool: order, batches, one dimension, and answers that cannot be right."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from failover_core import (
    AllTargetsFailedError,
    ConfigurationError,
    ErrorClass,
    ResponseStatusError,
    Router,
    SpaceMismatchError,
    Target,
)
from failover_core.embedding import Embedder, EmbeddingClient, EmbeddingSpace, Kind
from tests.engine.doors import REFUSED

TEXTS = [f"text {number}" for number in range(10)]


class Client:
    """Embeds a text as its number and its length, or answers as it is told to.

    Attributes:
        batches: the texts of every request.
    """

    model = "m"

    def __init__(
        self,
        answer: Any = None,
        *,
        largest: int = 1_000,
        dimension: int = 2,
        failing: dict[int, Exception] | None = None,
    ) -> None:
        self.batches: list[list[str]] = []
        self.kinds: set[Kind] = set()
        self._answer = answer
        self._largest = largest
        self._dimension = dimension
        self._failing = failing or {}

    def embed(self, texts: Sequence[str], kind: Kind) -> Any:
        self.batches.append(list(texts))
        self.kinds.add(kind)
        if error := self._failing.get(len(self.batches)):
            raise error
        if isinstance(self._answer, Exception):
            raise self._answer
        if len(texts) > self._largest:
            message = "too many texts"
            raise ResponseStatusError(message, status_code=413)
        if self._answer is not None:
            return self._answer
        return [[float(text.split()[-1])] * self._dimension for text in texts]

    async def aembed(self, texts: Sequence[str], kind: Kind) -> Any:
        await asyncio.sleep(0)
        return self.embed(texts, kind)


Embed = Callable[..., Any]


def embedder_of(*clients: Any, dimension: int | None = None, **settings: Any) -> Embedder:
    return over(Router(clients), space=EmbeddingSpace(dimension=dimension), **settings)


def over(router: Router, **settings: Any) -> Embedder:
    """Return an embedder that sends one request after the other, and texts alone."""
    return Embedder(
        router.begin, router.targets, **{"verify": "declared", "spread": False, **settings}
    )


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest) -> Embed:
    """Embed through the sync or the async door."""

    def through(embedder: Embedder, texts: Any, kind: Kind = Kind.PASSAGE) -> Any:
        if request.param == "sync":
            return embedder.embed(texts, kind)
        return asyncio.run(embedder.aembed(texts, kind))

    return through


def test_vectors_come_in_the_order_of_the_texts(embed: Embed) -> None:
    client = Client()
    vectors = embed(embedder_of(client, batch_size=3), TEXTS)
    assert vectors[:, 0].tolist() == list(range(10))
    assert [len(batch) for batch in client.batches] == [3, 3, 3, 1]
    assert isinstance(client, EmbeddingClient)


def test_the_kind_reaches_the_client(embed: Embed) -> None:
    client = Client()
    embed(embedder_of(client), TEXTS, Kind.QUERY)
    assert client.kinds == {Kind.QUERY}


def test_the_childs_numbers_come_back_as_they_are_in_single_precision(embed: Embed) -> None:
    exact = np.array([[0.1, 1 / 3], [1e-30, -2.5]], np.float32)
    vectors = embed(embedder_of(Client(exact.tolist())), TEXTS[:2])
    assert vectors.dtype == np.float32
    assert vectors.tolist() == exact.tolist()


def test_no_texts_need_no_request(embed: Embed) -> None:
    client = Client()
    assert embed(embedder_of(client), []).shape == (0, 0)
    assert not client.batches


def test_an_empty_string_is_sent_as_it_is(embed: Embed) -> None:
    client = Client([[1.0, 2.0]])
    assert embed(embedder_of(client), [""]).tolist() == [[1, 2]]
    assert client.batches == [[""]]


def test_a_batch_that_fails_moves_on_alone_and_finished_ones_are_not_sent_again(
    embed: Embed,
) -> None:
    a, b = Client(failing={2: REFUSED}), Client()
    vectors = embed(embedder_of(a, b, batch_size=4), TEXTS)
    assert vectors[:, 0].tolist() == list(range(10))
    assert b.batches == [TEXTS[4:8]]
    assert a.batches == [TEXTS[:4], TEXTS[4:8], TEXTS[8:]]


def test_a_batch_too_large_for_the_server_is_halved(embed: Embed) -> None:
    client = Client(largest=3)
    router = Router([client])
    vectors = embed(over(router), TEXTS)
    assert vectors[:, 0].tolist() == list(range(10))
    assert [len(batch) for batch in client.batches] == [10, 5, 2, 3, 5, 2, 3]
    assert router.status().failed == 0
    assert "exhausted" not in {event.kind for event in router.events}


def test_a_batch_too_large_for_the_living_is_halved_whatever_the_dead_say(embed: Embed) -> None:
    small = Target(Client(largest=3), name="small", context_window=1)
    large = Target(Client(REFUSED), name="large", context_window=2)
    assert len(embed(embedder_of(small, large), TEXTS)) == 10
    assert len(embed(embedder_of(Client(REFUSED), Client(largest=3)), TEXTS)) == 10


def test_one_text_too_large_by_itself_is_the_callers_own_error(embed: Embed) -> None:
    with pytest.raises(ResponseStatusError, match="too many texts"):
        embed(embedder_of(Client(largest=0)), TEXTS)


@pytest.mark.parametrize(
    "answer",
    [
        [[1.0, 2.0]],
        [[1.0, 2.0]] * 4,
        [],
        [[1.0, 2.0], [1.0], [2.0, 3.0]],
        [[1.0, float("nan")]] * 3,
        [[1.0, float("inf")]] * 3,
        [[]] * 3,
        [1.0, 2.0, 3.0],
        [["a", "b"]] * 3,
        [[None, None]] * 3,
        [[[1.0]]] * 3,
        [[True, False]] * 3,
        {"embedding": [1.0]},
        "vectors",
        np.full((3, 2), np.nan),
        np.zeros((3, 2)),
    ],
    ids=repr,
)
def test_an_answer_that_cannot_be_right_fails_over(answer: Any, embed: Embed) -> None:
    router = Router([Target(Client(answer), name="bad"), Target(Client(), name="good")])
    vectors = embed(over(router), TEXTS[:3])
    assert vectors.shape == (3, 2)
    assert next(iter(router.events)).error_class is ErrorClass.MALFORMED
    assert router.status()["bad"].failures == 1


def test_a_target_of_another_dimension_is_never_used(embed: Embed) -> None:
    a, other = Client(failing={2: REFUSED}), Client(dimension=3)
    embedder = embedder_of(a, other)
    assert embed(embedder, TEXTS).shape == (10, 2)
    with pytest.raises(AllTargetsFailedError) as caught:
        embed(embedder, TEXTS)
    mismatch = caught.value.exceptions[1]
    assert isinstance(mismatch, SpaceMismatchError)
    assert "dimension 3 in a pool of dimension 2" in str(mismatch)
    assert embed(embedder, TEXTS).shape == (10, 2)


def test_a_declared_dimension_holds_from_the_first_answer_on(embed: Embed) -> None:
    with pytest.raises(AllTargetsFailedError, match="SpaceMismatchError"):
        embed(embedder_of(Client(), dimension=3), TEXTS)
    assert embed(embedder_of(Client(), Client(dimension=3), dimension=3), TEXTS).shape == (10, 3)


def test_of_two_first_answers_at_once_one_decides_the_dimension() -> None:
    together = threading.Barrier(2)

    class Meeting(Client):
        def embed(self, texts: Sequence[str], kind: Kind) -> Any:
            if not together.broken:
                together.wait(10)
                together.abort()
            return super().embed(texts, kind)

    router = Router([Meeting(dimension=size) for size in (2, 3)], strategy="round_robin")
    embedder = over(router)
    with ThreadPoolExecutor(2) as threads:
        jobs = [threads.submit(embedder.embed, TEXTS, Kind.PASSAGE) for _ in range(2)]
    shapes = {job.result().shape for job in jobs}
    assert len(shapes) == 1


def test_texts_may_come_from_a_generator_or_an_array(embed: Embed) -> None:
    client = Client()
    assert len(embed(embedder_of(client, batch_size=4), (text for text in TEXTS))) == 10
    assert len(embed(embedder_of(client), np.array(TEXTS))) == 10


def test_a_list_that_changes_meanwhile_does_not_shift_the_vectors(embed: Embed) -> None:
    texts = list(TEXTS)

    class Meddling(Client):
        def embed(self, batch: Sequence[str], kind: Kind) -> Any:
            texts.clear()
            return super().embed(batch, kind)

    assert embed(embedder_of(Meddling(), batch_size=4), texts)[:, 0].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "texts is one string; give a list of strings"),
        (None, "texts is NoneType; give a list of strings"),
        (5, "texts is int; give a list"),
        (["a", 5], r"texts\[1\] is int; every text must be a string"),
        (["a", None], r"texts\[1\] is NoneType"),
        (b"bytes", r"texts\[0\] is int"),
    ],
)
def test_what_is_no_list_of_texts_is_refused_unsent(texts: Any, message: str, embed: Embed) -> None:
    client = Client()
    with pytest.raises(ConfigurationError, match=message):
        embed(embedder_of(client), texts)
    assert not client.batches


@pytest.mark.parametrize("setting", ["dimension", "batch_size"])
@pytest.mark.parametrize("value", [0, -5])
def test_a_bad_setting_is_named(setting: str, value: int) -> None:
    with pytest.raises(ConfigurationError, match=f"{setting} is {value}; it must be 1 or more"):
        embedder_of(Client(), **{setting: value})
