"""The cache of vectors: what is known is not sent, and never is one model's vector another's."""

from __future__ import annotations

import asyncio
import copy
import logging
import multiprocessing
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from failover_core import ConfigurationError, PartialEmbeddingError, ResponseStatusError, Router
from failover_core.clients import InfinityClient
from failover_core.embedding import CacheStatistics, Embedder, Kind, VectorCache, Vectors
from failover_core.embedding.space import CANARY
from failover_core.testing import FaultServer
from failover_core.testing.language import embed as served

TEXTS = [f"text {number}" for number in range(10)]
DIMENSION = 16


class Model:
    """Embeds texts as a model would: other ones otherwise, and queries otherwise than passages.

    Attributes:
        sent: all texts that it was asked for, but for the canary.
    """

    model = "m"

    def __init__(self, seed: int = 0, *, noise: float = 0.0, poison: str | None = None) -> None:
        self.seed = seed
        self.sent: list[str] = []
        self._noise = noise
        self._poison = poison

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        self.sent += [text for text in texts if text != CANARY]
        if self._poison in texts:
            message = "no"
            raise ResponseStatusError(message, status_code=422)
        noise = np.random.default_rng(self.seed).normal(size=DIMENSION) * self._noise
        return self.expected(texts, kind) + noise.astype(np.float32)

    async def aembed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        await asyncio.sleep(0)
        return self.embed(texts, kind)

    def expected(self, texts: Sequence[str], kind: Kind = Kind.PASSAGE) -> Vectors:
        vectors = [self._vector(f"{kind}: {text}") for text in texts]
        return np.array(vectors, np.float32)

    def _vector(self, text: str) -> list[float]:
        dice = random.Random(f"{self.seed if not self._noise else 0} {text!r}")
        return [dice.gauss() for _ in range(DIMENSION)]


Embed = Callable[..., Vectors]


@pytest.fixture(params=["sync", "async"])
def embed(request: pytest.FixtureRequest) -> Embed:
    """Embed through the sync or the async door."""

    def through(embedder: Embedder, texts: Sequence[str], kind: Kind = Kind.PASSAGE) -> Vectors:
        if request.param == "sync":
            return embedder.embed(texts, kind)
        return asyncio.run(embedder.aembed(texts, kind))

    return through


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> VectorCache:
    """A cache of either kind."""
    if request.param == "memory":
        return VectorCache.in_memory()
    return VectorCache.on_disk(tmp_path / "cache" / "vectors.db")


@pytest.fixture
def on_disk(tmp_path: Path) -> Path:
    """The path of a cache on disk that knows all texts, and nothing else."""
    path = tmp_path / "vectors.db"
    pool(Model(), path).embed(TEXTS, Kind.PASSAGE)
    return path


def pool(*models: Any, **settings: Any) -> Embedder:
    *models_, cache = models
    router = Router(models_)
    return Embedder(router.begin, router.targets, cache=cache, **settings)


def test_what_is_known_is_not_sent_again(cache: VectorCache, embed: Embed) -> None:
    model = Model()
    embedder = pool(model, cache)
    for _ in range(3):
        assert (embed(embedder, TEXTS) == model.expected(TEXTS)).all()
    assert sorted(model.sent) == TEXTS


def test_only_what_is_missing_is_sent_and_the_order_holds(cache: VectorCache, embed: Embed) -> None:
    model = Model()
    embedder = pool(model, cache, batch_size=3)
    embed(embedder, TEXTS[2:5])
    texts = [*TEXTS, TEXTS[3], TEXTS[0], *reversed(TEXTS)]
    assert (embed(embedder, texts) == model.expected(texts)).all()
    assert sorted(model.sent) == TEXTS
    assert cache.statistics == CacheStatistics(hits=3, misses=10)


def test_a_pool_that_has_asked_nobody_yet_reads_nothing(cache: VectorCache, embed: Embed) -> None:
    embed(pool(Model(), cache), TEXTS)
    later = Model()
    assert (embed(pool(later, cache), TEXTS) == later.expected(TEXTS)).all()
    assert later.sent == TEXTS[:1]  # it came with the canary, which told whose vectors these are


def test_a_saved_space_tells_it_without_a_request(cache: VectorCache, embed: Embed) -> None:
    first = pool(Model(), cache)
    embed(first, TEXTS)
    silent = Model()
    vectors = embed(pool(silent, cache, space=first.verification.space), TEXTS)
    assert (vectors == silent.expected(TEXTS)).all()
    assert not silent.sent


def test_another_model_of_the_same_name_and_dimension_gets_none_of_them(
    cache: VectorCache, embed: Embed
) -> None:
    models = [Model(seed) for seed in range(3)]
    for _ in range(2):
        for model in models:
            assert (embed(pool(model, cache), TEXTS) == model.expected(TEXTS)).all()
    assert all(sorted({*model.sent}) == TEXTS for model in models)


def test_another_name_of_a_model_gets_none_of_them(cache: VectorCache, embed: Embed) -> None:
    embed(pool(Model(), cache), TEXTS)
    renamed = Model()
    renamed.model = "m2"
    embed(pool(renamed, cache), TEXTS)
    assert renamed.sent == TEXTS


def test_a_query_is_never_given_the_vector_of_a_passage(cache: VectorCache, embed: Embed) -> None:
    model = Model()
    embedder = pool(model, cache)
    for kind in (*Kind, *Kind):
        assert (embed(embedder, TEXTS, kind) == model.expected(TEXTS, kind)).all()
    assert sorted(model.sent) == sorted(TEXTS * 2)


def test_a_replica_that_rounds_otherwise_finds_them(cache: VectorCache, embed: Embed) -> None:
    embed(pool(Model(1, noise=1e-5), cache), TEXTS)
    replica = Model(2, noise=1e-5)
    embed(pool(replica, cache), TEXTS)
    assert replica.sent == TEXTS[:1]


def test_a_strict_pool_is_not_given_what_a_tolerant_one_let_pass(
    cache: VectorCache, embed: Embed
) -> None:
    embed(pool(Model(1, noise=1e-5), cache, tolerance=0.02), TEXTS)
    strict = Model(1, noise=1e-5)
    embed(pool(strict, cache), TEXTS)
    assert strict.sent == TEXTS


def test_the_canary_always_reaches_a_server(cache: VectorCache, embed: Embed) -> None:
    asked: list[str] = []

    class Asked(Model):
        def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
            asked.extend(texts)
            return super().embed(texts, kind)

    embedder = pool(Asked(), cache)
    for number in range(1, 4):
        embed(embedder, [CANARY])
        assert asked.count(CANARY) > number


def test_a_text_that_nobody_takes_costs_only_itself(cache: VectorCache, embed: Embed) -> None:
    embed(pool(Model(), cache), TEXTS[:4])
    model = Model(poison=TEXTS[6])
    for attempt in range(2):
        with pytest.raises(PartialEmbeddingError) as caught:
            embed(pool(model, cache, batch_size=4), TEXTS)
        assert set(caught.value.errors) == {6}
        kept = sorted(caught.value.results)
        got = np.array([caught.value.results[index] for index in kept])
        assert (got == model.expected([TEXTS[index] for index in kept])).all()
        if attempt:
            assert set(model.sent) == {TEXTS[0], TEXTS[6]}
        model.sent.clear()


@pytest.mark.parametrize("text", ["", "\0", "\ud800", "a\udfffb", "é", "x" * 100_000], ids=ascii)
def test_any_text_has_a_place_of_its_own(text: str, cache: VectorCache, embed: Embed) -> None:
    model = Model()
    embedder = pool(model, cache)
    embed(embedder, ["first", text])
    assert (embed(embedder, [text, "first"]) == model.expected([text, "first"])).all()
    assert model.sent == ["first", text]


def test_a_stream_of_texts_uses_it_too(cache: VectorCache) -> None:
    model = Model()
    embedder = pool(model, cache, batch_size=2)
    for _ in range(2):
        got = np.vstack(list(embedder.iter_embed(iter(TEXTS), Kind.PASSAGE)))
        assert (got == model.expected(TEXTS)).all()
    assert sorted(model.sent) == TEXTS


def test_it_can_be_cleared(cache: VectorCache, embed: Embed) -> None:
    model = Model()
    embedder = pool(model, cache)
    for _ in range(2):
        embed(embedder, TEXTS)
        cache.clear()
    assert model.sent == TEXTS * 2
    embed(embedder, TEXTS)
    embed(embedder, TEXTS)
    assert model.sent == TEXTS * 3


def test_copies_share_it_and_a_pickle_opens_the_same_file(on_disk: Path) -> None:
    cache = VectorCache.on_disk(on_disk)
    assert copy.deepcopy(cache) is cache
    model = Model()
    pool(model, pickle.loads(pickle.dumps(cache))).embed(TEXTS, Kind.PASSAGE)  # noqa: S301 - ours
    assert model.sent == TEXTS[:1]
    memory = VectorCache.in_memory(max_bytes=5)
    assert pickle.loads(pickle.dumps(memory)).statistics == CacheStatistics()  # noqa: S301 - ours


def test_threads_share_one_cache_and_each_vector_is_that_of_its_text(cache: VectorCache) -> None:
    seed = random.randrange(2**32)
    models = [Model(seed) for seed in range(3)]
    words = [f"word {number}" for number in range(60)]

    def use(number: int) -> None:
        dice = random.Random(seed + number)
        embedders = [pool(model, cache, batch_size=5) for model in models]
        for _ in range(15):
            which = dice.randrange(3)
            texts = dice.choices(words, k=20)
            kind = dice.choice(list(Kind))
            got = embedders[which].embed(texts, kind)
            assert (got == models[which].expected(texts, kind)).all(), f"seed {seed}"

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))
    sent = sum(len(model.sent) for model in models)
    assert cache.statistics.misses == sent
    assert cache.statistics.hits > sent


class Killing:
    """A client whose server is killed before a request of it."""

    model = "m"

    def __init__(self, server: FaultServer, *, before_request: int) -> None:
        self.client = InfinityClient(server.url, model="m")
        self.server = server
        self._left = before_request

    def embed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        self._left -= 1
        if not self._left:
            self.server.stop()
        return self.client.embed(texts, kind)

    async def aembed(self, texts: Sequence[str], kind: Kind) -> Vectors:
        return await asyncio.to_thread(self.embed, texts, kind)


def test_a_job_whose_server_was_killed_goes_on_where_it_was(
    cache: VectorCache, embed: Embed
) -> None:
    texts = [f"boat number {number}" for number in range(40)]
    with FaultServer(dimension=32) as server:
        client = Killing(server, before_request=4)
        embedder = pool(client, cache, batch_size=8, spread=False)
        with pytest.raises(PartialEmbeddingError) as caught:
            embed(embedder, texts)
        done = len(caught.value.results)
        assert 0 < done < len(texts)
        server.start()
        before = len(server.requests)
        assert (embed(embedder, texts) == served(texts, "m", 32)).all()
        inputs = [request.body["input"] for request in list(server.requests)[before:]]
        again = [text for batch in inputs for text in batch if text != CANARY]
        assert sorted(again) == sorted(set(texts) - {texts[index] for index in range(done)})
        client.client.close()


# ── Bounds ──────────────────────────────────────────────────────────────────────────────────


def test_in_memory_what_was_unused_for_longest_gives_way() -> None:
    model = Model()
    cache = VectorCache.in_memory(max_bytes=1_200)  # of three, and the canary
    embedder = pool(model, cache)
    for text in ("a", "b", "c", "a", "d", "a"):
        embedder.embed([text], Kind.PASSAGE)
    assert model.sent == ["a", "b", "c", "d"]
    embedder.embed(["b"], Kind.PASSAGE)
    assert model.sent[-1] == "b"


def test_on_disk_the_oldest_give_way_and_the_file_stays_within_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "vectors.db"
    model = Model()
    embedder = pool(model, VectorCache.on_disk(path, max_bytes=100_000))
    for start in range(0, 3_000, 100):
        texts = [f"{number}" for number in range(start, start + 100)]
        embedder.embed(texts, Kind.PASSAGE)
    assert path.stat().st_size < 140_000
    model.sent.clear()
    embedder.embed(["2999", "0"], Kind.PASSAGE)
    assert model.sent == ["0"]


# ── Trouble ─────────────────────────────────────────────────────────────────────────────────

DAMAGES = {
    "cut": "UPDATE vectors SET entry = substr(entry, 1, length(entry) - 1)",
    "cut by a number": "UPDATE vectors SET entry = substr(entry, 1, length(entry) - 4)",
    "a number too many": "UPDATE vectors SET entry = CAST(entry || x'00000000' AS BLOB)",
    "one byte": "UPDATE vectors SET entry = CAST(substr(entry, 1, 9) || x'ab' "
    "|| substr(entry, 11) AS BLOB)",
    "empty": "UPDATE vectors SET entry = x''",
    "missing": "UPDATE vectors SET entry = NULL",
    "a text": "UPDATE vectors SET entry = 'vector'",
    "a number": "UPDATE vectors SET entry = 7",
    "another text's": "UPDATE vectors SET entry = (SELECT max(entry) FROM vectors)",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_not_there(damage: str, on_disk: Path, embed: Embed) -> None:
    with sqlite3.connect(on_disk) as connection:
        connection.execute(damage)
    connection.close()
    model = Model()
    embedder = pool(model, on_disk)
    for _ in range(2):
        assert (embed(embedder, TEXTS) == model.expected(TEXTS)).all()
    assert sorted(model.sent) == TEXTS


def test_a_file_that_is_no_cache_costs_one_line_in_the_log_and_stays_as_it_is(
    tmp_path: Path, embed: Embed, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Ships sail.\n" * 500)
    before = path.read_bytes()
    model = Model()
    embedder = pool(model, path)
    for _ in range(3):
        assert (embed(embedder, TEXTS) == model.expected(TEXTS)).all()
    assert path.read_bytes() == before
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "file is not a database" in caplog.text


def test_another_programs_database_is_not_written_to(
    tmp_path: Path, embed: Embed, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "orders.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE orders (name TEXT)")
    connection.close()
    before = path.read_bytes()
    embed(pool(Model(), path), TEXTS)
    assert path.read_bytes() == before
    assert "a database of another program" in caplog.text


def test_a_folder_that_cannot_be_made_costs_one_line_in_the_log(
    tmp_path: Path, embed: Embed, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    model = Model()
    assert (embed(pool(model, tmp_path / "file" / "v.db"), TEXTS) == model.expected(TEXTS)).all()
    assert len(caplog.records) == 1


class Failing:
    """A store that fails each time."""

    may_block = False

    def __init__(self) -> None:
        self.calls = 0

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        self.calls += 1
        message = "away"
        raise OSError(message)

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        self.get([])

    def clear(self) -> None:
        self.get([])


def test_a_store_that_fails_is_left_alone_for_a_while(
    embed: Embed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr("failover_core.embedding.cache.time.monotonic", lambda: now)
    store, model = Failing(), Model()
    embedder = pool(model, VectorCache(store))
    for _ in range(3):
        assert (embed(embedder, TEXTS) == model.expected(TEXTS)).all()
    assert (store.calls, len(caplog.records)) == (1, 1)
    now += 11
    embed(embedder, TEXTS)
    assert (store.calls, len(caplog.records)) == (2, 2)


FULL_DISK = """
import logging, resource, sys
logging.basicConfig(format="%(message)s")
from failover_core.embedding import Kind, VectorCache
from tests.embedding.test_cache import Model, pool
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
model = Model()
texts = [str(number) for number in range(5_000)]
embedder = pool(model, VectorCache.on_disk(sys.argv[1]), spread=False)
assert (embedder.embed(texts, Kind.PASSAGE) == model.expected(texts)).all()
print(len(model.sent))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
def test_a_full_disk_costs_one_line_in_the_log(tmp_path: Path) -> None:
    done = subprocess.run(  # noqa: S603 - the program is the one above
        [sys.executable, "-c", FULL_DISK, tmp_path / "vectors.db"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "5000"
    assert done.stderr.count("the cache of vectors fails") == 1, done.stderr


def _use(path: Path, seed: int) -> None:
    dice, model = random.Random(seed), Model()
    embedder = pool(model, path, batch_size=7)
    for _ in range(10):
        texts = [f"word {dice.randrange(40)}" for _ in range(30)]
        assert (embedder.embed(texts, Kind.PASSAGE) == model.expected(texts)).all()


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.db"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_use, args=(path, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    later = Model()
    pool(later, path).embed([f"word {number}" for number in range(40)], Kind.PASSAGE)
    assert later.sent == ["word 0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_forked_while_another_thread_is_at_work_has_an_access_of_its_own(
    cache: VectorCache,
) -> None:
    model = Model()
    embedder = pool(model, cache)
    embedder.embed(TEXTS, Kind.PASSAGE)
    store: Any = cache.store
    with cache._lock, getattr(store, "_file", store)._lock:  # as if by another thread
        children = [_forked(lambda: embedder.embed(TEXTS, Kind.PASSAGE)) for _ in range(3)]
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0] * 3
    embedder.embed(TEXTS, Kind.PASSAGE)
    assert model.sent == TEXTS


def _forked(work: Callable[[], object]) -> int:
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            work()
        except BaseException:  # noqa: BLE001 - it is to end in any case
            os._exit(1)
        os._exit(0)
    return child


# ── Settings ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("verify", ["declared", "off"])
def test_it_needs_the_canary(verify: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"verify is '{verify}'; a cache needs verify="):
        pool(Model(), True, verify=verify)  # noqa: FBT003 - as users write it
    assert pool(Model(), False, verify=verify).cache is None  # noqa: FBT003 - as above


def test_what_is_no_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cache is int; give True for one in memory, a"):
        pool(Model(), 5)
    with pytest.raises(ConfigurationError, match="is a directory; the path of a cache is that"):
        pool(Model(), tmp_path)
    for bad in (0, -1, 1.5, True, "1"):
        with pytest.raises(ConfigurationError, match=r"max_bytes is .*; it must be a whole number"):
            VectorCache.in_memory(max_bytes=bad)  # type: ignore[arg-type]
