"""One vector space: the canary tells targets of another one, and nothing of theirs gets out."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from failover_core import (
    AllTargetsFailedError,
    ConfigurationError,
    EmbeddingSpaceMismatchError,
    ErrorClass,
    Router,
    SpaceMismatchError,
    Target,
)
from failover_core.clients import InfinityClient
from failover_core.clients.descriptions import RequestLimits
from failover_core.embedding import Embedder, EmbeddingSpace, Kind
from failover_core.embedding.space import CANARY
from failover_core.testing import FakeClock, FaultServer
from failover_core.testing.faults import OtherModel, TooLarge
from tests.engine.doors import REFUSED

DIMENSION = 64

Embed = Callable[..., Any]


def embedding_of(text: str, model: str, kind: Kind, prefix: str = "") -> np.ndarray[Any, Any]:
    """Return a vector that depends on all of it, and is the same on every machine."""
    seed = list(f"{model}|{kind}|{prefix}{text}".encode())
    vector = np.random.default_rng(seed).normal(size=DIMENSION)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class Model:
    """An embedding client.

    Attributes:
        name: of its model; changes when its server is restarted with another one.
        requests: the texts of every request.
        error: to answer with instead, if any.
    """

    def __init__(
        self,
        name: str = "m",
        *,
        prefix: str = "",
        length: float = 1.0,
        noise: float = 0.0,
        dimension: int = DIMENSION,
        swaps: bool = False,
    ) -> None:
        self.name = name
        self.model = "m"
        self.requests: list[list[str]] = []
        self.error: Exception | None = None
        self.prefix = prefix
        self._length = length
        self._noise = noise
        self._dimension = dimension
        self._swaps = swaps

    def embed(self, texts: Sequence[str], kind: Kind) -> Any:
        self.requests.append(list(texts))
        if self.error:
            raise self.error
        if self._swaps:
            kind = Kind.QUERY if kind is Kind.PASSAGE else Kind.PASSAGE
        vectors = np.array([embedding_of(text, self.name, kind, self.prefix) for text in texts])
        noise = np.random.default_rng(1).normal(size=vectors.shape) * self._noise
        return ((vectors + noise) * self._length)[:, : self._dimension]

    async def aembed(self, texts: Sequence[str], kind: Kind) -> Any:
        await asyncio.sleep(0)
        return self.embed(texts, kind)

    @property
    def canaries(self) -> int:
        """The requests that had the canary among their texts."""
        return sum(CANARY in texts for texts in self.requests)


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest) -> Embed:
    """Embed through the sync or the async door."""

    def through(embedder: Embedder, *texts: str, kind: Kind = Kind.PASSAGE) -> Any:
        if request.param == "sync":
            return embedder.embed(texts, kind)
        return asyncio.run(embedder.aembed(texts, kind))

    return through


def pool(*clients: Model, **router_settings: Any) -> Router:
    """Return a router over clients named a, b, c."""
    return Router(
        [Target(one, name=name) for name, one in zip("abc", clients, strict=False)],
        **router_settings,
    )


def over(router: Router, **settings: Any) -> Embedder:
    return Embedder(router.begin, router.targets, **settings)


def references(router: Router) -> list[str]:
    """Return the targets whose vectors are what the others' are compared with."""
    return [target.name for target in router.status().targets if target.is_reference]


def is_right(vectors: Any, *texts: str, kind: Kind = Kind.PASSAGE) -> bool:
    wanted = np.array([embedding_of(text, "m", kind) for text in texts])
    return bool(np.allclose(vectors, wanted, atol=1e-5))


WRONG: dict[str, Callable[[], Model]] = {
    "another model of the same dimension": lambda: Model("other"),
    "another dimension": lambda: Model(dimension=32),
    "another normalisation": lambda: Model(length=1.7),
    "another prefix": lambda: Model(prefix="passage: "),
    "query and passage swapped": lambda: Model(swaps=True),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_target_of_another_space_never_serves_a_vector(wrong: str, embed: Embed) -> None:
    right, other = Model(), WRONG[wrong]()
    router = pool(right, other)
    embedder = over(router)
    assert is_right(embed(embedder, "one"), "one")

    right.error = REFUSED
    with pytest.raises(EmbeddingSpaceMismatchError) as caught:
        embed(embedder, "two")

    assert isinstance(caught.value.exceptions[1], SpaceMismatchError)
    assert router.status()["b"].state == "open"
    assert [event.target for event in router.events if event.kind == "space_mismatch"] == ["b"]
    right.error = None
    assert is_right(embed(embedder, "three"), "three")


def test_a_quantised_replica_is_admitted_at_the_documented_tolerance(embed: Embed) -> None:
    right, quantised = Model(), Model(noise=0.01)
    strict, tolerant = pool(right, quantised), pool(right, quantised)
    embedders = over(strict), over(tolerant, tolerance=0.02)
    for embedder in embedders:
        embed(embedder, "one")
    right.error = REFUSED

    with pytest.raises(EmbeddingSpaceMismatchError):
        embed(embedders[0], "two")
    assert np.allclose(
        embed(embedders[1], "two"), [embedding_of("two", "m", Kind.PASSAGE)], atol=0.1
    )


def test_a_replica_in_half_precision_is_admitted_by_default(embed: Embed) -> None:
    right, half = Model(), Model(noise=0.0005)
    embedder = over(pool(right, half))
    embed(embedder, "one")
    right.error = REFUSED
    assert embed(embedder, "two").shape == (1, DIMENSION)


def test_a_restarted_server_with_another_model_is_found_out_after_a_failure(embed: Embed) -> None:
    only = Model()
    embedder = over(pool(only))
    assert is_right(embed(embedder, "one"), "one")
    only.error = REFUSED
    with pytest.raises(AllTargetsFailedError):
        embed(embedder, "two")

    only.error, only.name = None, "other"
    with pytest.raises(EmbeddingSpaceMismatchError):
        embed(embedder, "two")


def test_so_it_is_when_nobody_asked_while_it_was_down(embed: Embed, fake_clock: FakeClock) -> None:
    only = Model()
    embedder = over(pool(only, clock=fake_clock))
    assert is_right(embed(embedder, "one"), "one")
    only.name = "other"
    fake_clock.advance(2)
    with pytest.raises(EmbeddingSpaceMismatchError):
        embed(embedder, "two")


def test_one_of_several_servers_behind_a_url_is_found_out_if_every_answer_is_verified(
    embed: Embed,
) -> None:
    only = Model()
    embedder = over(pool(only), verify="always")
    assert is_right(embed(embedder, "one"), "one")
    only.name = "other"
    with pytest.raises(EmbeddingSpaceMismatchError):
        embed(embedder, "two")


def test_a_target_that_has_come_back_to_the_space_serves_again(
    embed: Embed, fake_clock: FakeClock
) -> None:
    right, other = Model(), Model("other")
    router = pool(right, other, clock=fake_clock)
    embedder = over(router)
    embed(embedder, "one")
    right.error = REFUSED
    with pytest.raises(EmbeddingSpaceMismatchError):
        embed(embedder, "two")

    other.name = "m"
    fake_clock.advance(400)
    assert is_right(embed(embedder, "two"), "two")


def test_the_canary_goes_along_with_texts_and_takes_no_request_of_its_own(
    embed: Embed, fake_clock: FakeClock
) -> None:
    client = Model()
    embedder = over(pool(client, clock=fake_clock))
    for _ in range(5):
        embed(embedder, "one", "two")
    assert len(client.requests) == 5
    assert client.requests[0] == ["one", "two", CANARY]
    assert client.canaries == 1


def test_the_canary_goes_along_with_as_many_texts_as_the_user_wants_in_a_request(
    embed: Embed,
) -> None:
    client = Model()
    texts = ["one", "two", "three", "four"]
    assert is_right(embed(over(pool(client), batch_size=2, spread=False), *texts), *texts)
    assert client.requests == [["one", "two", CANARY], ["three", "four"]]


def test_a_request_of_as_many_texts_as_its_target_takes_is_preceded_by_the_canary(
    embed: Embed,
) -> None:
    class Small(Model):
        limits = RequestLimits(items=2)

    client = Small()
    texts = ["one", "two", "three", "four"]
    assert is_right(embed(over(pool(client), spread=False), *texts), *texts)
    assert client.requests == [[CANARY], ["one", "two"], ["three", "four"]]


@pytest.mark.parametrize("texts", [["one"], ["one", "two", "three"]])
def test_a_server_that_takes_one_text_in_a_request_gets_the_canary_in_one_of_its_own(
    texts: list[str], embed: Embed
) -> None:
    with FaultServer() as server:
        server.fault = TooLarge(items=1)
        router = Router([InfinityClient(server.url, model="m")])
        for _ in range(2):
            assert len(embed(over(router), *texts)) == len(texts)
        router.close()


def test_a_request_that_the_canary_made_too_large_teaches_no_smaller_size(embed: Embed) -> None:
    with FaultServer() as server:
        server.fault = TooLarge(items=8)
        router = Router([InfinityClient(server.url, model="m")])
        embedder = over(router)
        embed(embedder, *[f"ship {number}" for number in range(64)])
        server.clear()
        embed(embedder, *[f"port {number}" for number in range(64)])
        sizes = [len(request.body["input"]) for request in server.requests]
        assert sizes.count(8) >= 7, sizes
        router.close()


def test_queries_and_passages_are_verified_apart(embed: Embed) -> None:
    right, other = Model(), Model(swaps=True)
    router = pool(right, other)
    embedder = over(router)
    embed(embedder, "one")
    assert is_right(embed(embedder, "two", kind=Kind.QUERY), "two", kind=Kind.QUERY)
    assert set(embedder.verification.space.fingerprint) == set(Kind)
    assert right.canaries == 3


@pytest.mark.parametrize("first", Kind)
@pytest.mark.parametrize("wrong", ["another model of the same dimension", "another prefix"])
def test_a_backup_serves_no_kind_of_text_before_it_has_shown_what_is_known_of_the_other(
    first: Kind, wrong: str, embed: Embed
) -> None:
    right, other = Model(), WRONG[wrong]()
    embedder = over(pool(right, other))
    then = next(kind for kind in Kind if kind is not first)
    embed(embedder, "one", kind=first)

    right.error = REFUSED
    with pytest.raises(EmbeddingSpaceMismatchError):
        embed(embedder, "two", kind=then)
    assert set(embedder.verification.space.fingerprint) == {first}

    other.name, other.prefix = "m", ""
    assert is_right(embed(embedder, "two", kind=then), "two", kind=then)


def test_nor_while_both_kinds_are_first_asked_for_at_the_same_moment() -> None:
    class Slow(Model):
        def embed(self, texts: Sequence[str], kind: Kind) -> Any:
            if kind is Kind.QUERY:  # meanwhile the other target is asked for passages
                right.error = None
                embedder.embed(["one"], Kind.PASSAGE)
                right.error = REFUSED
            return super().embed(texts, kind)

    right = Model()
    right.error = REFUSED
    embedder = over(pool(right, Slow("other")))
    with pytest.raises(EmbeddingSpaceMismatchError):
        embedder.embed(["two"], Kind.QUERY)
    assert set(embedder.verification.space.fingerprint) == {Kind.PASSAGE}


def test_nor_does_a_server_that_is_another_one_by_then(embed: Embed) -> None:
    model = Model()
    embedder = over(pool(model))
    embed(embedder, "one")
    model.name = "other"
    with pytest.raises(EmbeddingSpaceMismatchError):
        embed(embedder, "two", kind=Kind.QUERY)


@pytest.mark.parametrize("strategy", ["round_robin", "random", "least_loaded"])
def test_the_reference_is_the_first_target_that_is_alive_whatever_the_strategy(
    strategy: str, embed: Embed
) -> None:
    right, other = Model(), Model("other")
    router = pool(right, other, strategy=strategy)
    embedder = over(router)
    for text in "abcdefgh":
        assert is_right(embed(embedder, text), text)
    assert references(router) == ["a"]


def test_if_the_first_target_is_down_the_next_one_is_the_reference(embed: Embed) -> None:
    right, other = Model(), Model("other")
    right.error = REFUSED
    router = pool(right, other)
    embed(over(router), "one")
    assert references(router) == ["b"]


def test_a_server_that_restarted_between_two_requests_is_verified_before_it_is_believed(
    embed: Embed,
) -> None:
    with FaultServer() as server:
        client = InfinityClient(server.url, model="m")
        embedder = Embedder((router := Router([client])).begin, router.targets)
        embed(embedder, "one")
        server.stop()
        server.fault = OtherModel()
        server.start()
        time.sleep(0.05)  # the client has seen by then that its connection is closed
        with pytest.raises(EmbeddingSpaceMismatchError):
            embed(embedder, "two")
        router.close()


def test_what_asks_while_it_is_being_verified_does_not_believe_it_either() -> None:
    class Restarted(Model):
        connections = 0

        def embed(self, texts: Sequence[str], kind: Kind) -> Any:
            if texts == ["two"]:
                self.name, self.connections = "other", 1
            if texts == [CANARY]:
                with pytest.raises(EmbeddingSpaceMismatchError):
                    embedder.embed(["three"], Kind.PASSAGE)
            return super().embed(texts, kind)

    embedder = over(pool(Restarted()))
    embedder.embed(["one"], Kind.PASSAGE)
    with pytest.raises(EmbeddingSpaceMismatchError):
        embedder.embed(["two"], Kind.PASSAGE)


def test_a_busy_server_that_changes_its_model_is_found_out_within_a_second(
    embed: Embed, fake_clock: FakeClock
) -> None:
    right, other = Model(), Model()
    embedder = over(pool(right, other, clock=fake_clock))
    embed(embedder, "one")
    right.name = "other"
    for _ in range(6):
        fake_clock.advance(0.2)
        embed(embedder, "two")
    assert is_right(embed(embedder, "three"), "three")


async def test_after_a_silence_no_request_of_several_at_once_goes_unverified(
    fake_clock: FakeClock,
) -> None:
    model = Model()
    embedder = over(pool(model, clock=fake_clock))
    await embedder.aembed(["one"], Kind.PASSAGE)
    fake_clock.advance(5)
    model.name = "other"

    texts = ["two", "three", "four"]
    outcomes = await asyncio.gather(
        *(embedder.aembed([text], Kind.PASSAGE) for text in texts), return_exceptions=True
    )

    assert {type(one) for one in outcomes} == {EmbeddingSpaceMismatchError}


async def test_of_the_requests_that_a_target_is_busy_with_one_verifies_it(
    fake_clock: FakeClock,
) -> None:
    model = Model()
    embedder = over(pool(model, clock=fake_clock))
    for _ in range(4):
        await embedder.aembed(["one"], Kind.PASSAGE)
        fake_clock.advance(0.7)
    await asyncio.gather(*(embedder.aembed([text], Kind.PASSAGE) for text in "abcde"))
    assert model.canaries == 3


# Saved spaces


def test_a_backup_is_verified_against_a_saved_space_while_the_primary_is_down(
    embed: Embed, tmp_path: Path
) -> None:
    first = over(pool(Model()))
    embed(first, "one")
    first.verification.space.save(tmp_path / "space.json")

    dead, backup, other = Model(), Model(), Model("other")
    dead.error = REFUSED
    router = pool(dead, other, backup)
    embedder = over(router, space=tmp_path / "space.json")
    assert is_right(embed(embedder, "two"), "two")
    assert not references(router)


def test_the_whole_space_is_asked_for_when_it_is_wanted() -> None:
    client = Model()
    embedder = over(pool(client))
    assert set(embedder.space().fingerprint) == set(Kind)
    assert embedder.space() is embedder.space()
    assert len(client.requests) == 3
    assert set(asyncio.run(over(pool(client)).aspace()).fingerprint) == set(Kind)


def test_a_saved_space_reads_as_it_was(tmp_path: Path) -> None:
    vector = embedding_of(CANARY, "m", Kind.QUERY)
    space = EmbeddingSpace("m", DIMENSION, {Kind.QUERY: vector})
    space.save(tmp_path / "space.json")
    loaded = EmbeddingSpace.load(tmp_path / "space.json")
    assert (loaded.model, loaded.dimension) == ("m", DIMENSION)
    assert loaded.fingerprint[Kind.QUERY].tolist() == vector.tolist()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"format": 99}',
        json.dumps({"format": 1, "canary": "another", "dimension": 1, "fingerprint": {}}),
        json.dumps(
            {
                "format": 1,
                "canary": CANARY,
                "model": "m",
                "dimension": 3,
                "fingerprint": {"query": [1.0]},
            }
        ),
    ],
)
def test_a_file_that_holds_no_space_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"space\.json cannot be read as a saved space"):
        EmbeddingSpace.load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        over(pool(Model()), space=tmp_path / "nowhere")


def test_a_dimension_that_contradicts_the_saved_space_is_refused() -> None:
    space = EmbeddingSpace("m", 3)
    with pytest.raises(ConfigurationError, match=r"dimension is 4, .* saved space is 3"):
        over(pool(Model()), space=space, dimension=4)


def test_a_space_copies_as_itself_and_pickles_by_its_values() -> None:
    space = EmbeddingSpace("m", 2, {Kind.QUERY: np.array([1, 2], np.float32)})
    assert copy.deepcopy(space) is space
    assert pickle.loads(pickle.dumps(space)).fingerprint[Kind.QUERY].tolist() == [1, 2]  # noqa: S301 - our own bytes


# Settings


@pytest.mark.parametrize("verify", ["declared", "off"])
def test_without_canaries_only_the_dimension_is_compared(verify: Any, embed: Embed) -> None:
    client, other = Model(), Model("other")
    embedder = over(pool(client, other), verify=verify)
    embed(embedder, "one")
    client.error = REFUSED
    assert embed(embedder, "two").shape == (1, DIMENSION)
    assert client.canaries == other.canaries == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"verify": "sometimes"}, "verify is 'sometimes'; it must be one of canary, always"),
        ({"tolerance": 0}, "tolerance is 0; it must be between 0 and 1"),
        ({"tolerance": float("nan")}, "tolerance is nan"),
        ({"dimension": 0}, "dimension is 0; it must be 1 or more"),
        ({"batch_size": 0}, "batch_size is 0; it must be 1 or more"),
    ],
)
def test_a_bad_setting_is_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        over(pool(Model()), **settings)


def test_a_mismatch_is_an_ejection_at_once_and_not_a_failure_of_the_call(embed: Embed) -> None:
    right, other = Model(), Model("other")
    router = pool(right, other, strategy="round_robin")
    embedder = over(router)
    for text in "abcdefgh":
        assert is_right(embed(embedder, text), text)
    assert len(other.requests) == 1
    assert router.status().failed == 0
    assert {e.error_class for e in router.events if e.target == "b"} == {ErrorClass.SPACE_MISMATCH}
