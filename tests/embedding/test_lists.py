"""Vectors as lists: those of a wrapped object as they came, others out of their arrays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from failover_core import MalformedResponseError, Router
from failover_core.embedding import Embedder, Kind
from failover_core.embedding.rows import rows_of

TEXTS = ["boat", "harbour", "boat", "ferry"]


class Client:
    """Embeds a text as numbers that single precision does not have, in lists or in an array."""

    model = "m"

    def __init__(self, form: Callable[[Any], Any], *, refuses: int = 0) -> None:
        self._form = form
        self._refuses = refuses

    def embed(self, texts: Sequence[str], kind: Kind) -> Any:
        if self._refuses:
            self._refuses -= 1
            raise ConnectionError
        return self._form([exact(text) for text in texts])

    async def aembed(self, texts: Sequence[str], kind: Kind) -> Any:
        return self.embed(texts, kind)


def exact(text: str) -> list[float]:
    return [len(text) / 7, ord(text[0]) / 9]


def rounded(text: str) -> list[float]:
    return np.array(exact(text), np.float32).tolist()  # type: ignore[no-any-return]


def to_array(rows: Any) -> Any:
    return np.array(rows, np.float32)


@pytest.fixture(params=["sync", "async"])
def lists(request: pytest.FixtureRequest) -> Callable[..., list[list[float]]]:
    """Embed over clients through the sync or the async door."""

    def through(*clients: Client, **settings: Any) -> list[list[float]]:
        router = Router(clients)
        embedder = Embedder(router.begin, router.targets, **settings)
        if request.param == "sync":
            return embedder.embed_lists(TEXTS, Kind.PASSAGE)
        return asyncio.run(embedder.aembed_lists(TEXTS, Kind.PASSAGE))

    return through


@pytest.mark.parametrize("batch_size", [1, 2, 256])
def test_floats_of_a_wrapped_object_are_its_own(lists: Any, batch_size: int) -> None:
    wanted = [exact(text) for text in TEXTS]

    assert lists(Client(list), batch_size=batch_size) == wanted
    assert lists(Client(list, refuses=1), Client(list), batch_size=batch_size) == wanted


def test_an_array_becomes_lists_of_floats(lists: Any) -> None:
    vectors = lists(Client(to_array))

    assert vectors == [rounded(text) for text in TEXTS]
    assert type(vectors[0][0]) is float


@pytest.mark.parametrize("forms", [(list, to_array), (to_array, list)])
def test_lists_and_arrays_may_meet_in_one_job(lists: Any, forms: tuple[Any, Any]) -> None:
    vectors = lists(*map(Client, forms), batch_size=1)

    assert np.allclose(vectors, [exact(text) for text in TEXTS])
    assert all(type(vector) is list for vector in vectors)


def test_equal_texts_have_a_list_each(lists: Any) -> None:
    vectors = lists(Client(list))
    vectors[0].clear()

    assert vectors[2] == exact("boat")


def test_no_texts_are_no_lists() -> None:
    router = Router([Client(list)])

    assert Embedder(router.begin, router.targets).embed_lists([], Kind.QUERY) == []


@pytest.mark.parametrize(
    "answer",
    [
        [[1.0, 2.0], [1.0]],
        [[1.0, 2.0], [1.0, float("nan")]],
        [[float("inf"), 1.0], [float("-inf"), 1.0]],
        [[1.0, 2.0], [1.0, None]],
        [[1.0, 2.0], [1.0, "2.0"]],
        [[1.0, 2.0], None],
        [[1.0, 2.0]],
        [[], []],
    ],
)
def test_lists_that_are_no_vectors_are_malformed(answer: Any) -> None:
    with pytest.raises(MalformedResponseError):
        rows_of(answer, 2)


def test_what_only_a_closer_look_can_tell_is_looked_at() -> None:
    huge = np.finfo(np.float32).max.item() / 2

    assert np.array_equal(rows_of([[1, 2], [3, 4]], 2), [[1, 2], [3, 4]])
    assert rows_of([[huge] * 2] * 2, 2) == [[huge] * 2] * 2
