"""Which space a pool embeds into: refused mixtures, a name for caches, caches that keep apart."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.openai import OpenAIEmbedding  # type: ignore[import-untyped]
from llama_index.embeddings.text_embeddings_inference import (  # type: ignore[import-untyped]
    TextEmbeddingsInference,
)

from failover_core import ConfigurationError, EmbeddingSpaceMismatchError, Target
from failover_core.clients import InfinityClient
from failover_core.testing import FaultServer
from failover_core.testing.faults import OtherModel
from llamaindex_failover import FailoverEmbedding
from tests.llamaindex.embedding_pools import TEXTS, Scripted

KEY = "sk-canary-0123456789abcdef"


def tei(**options: Any) -> BaseEmbedding:
    return TextEmbeddingsInference(model_name="m", auth_token=KEY, **options)  # type: ignore[no-any-return]


def openai(**options: Any) -> BaseEmbedding:
    settings = {"model": "text-embedding-3-small", "api_key": KEY, "max_retries": 0}
    return OpenAIEmbedding(**(settings | options))  # type: ignore[no-any-return]


def dump(*targets: Any, **options: Any) -> str:
    """Return what LlamaIndex's ingestion cache takes for the identity of a pool."""
    return str(FailoverEmbedding(targets=targets, **options).to_dict())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: [MockEmbedding(8)], lambda: [MockEmbedding(16)]),
        (lambda: [MockEmbedding(8)], lambda: [Scripted()]),
        (lambda: [MockEmbedding(8, model_name="a")], lambda: [MockEmbedding(8, model_name="b")]),
        (lambda: [openai()], lambda: [openai(model="text-embedding-3-large")]),
        (lambda: [openai(dimensions=256)], lambda: [openai(dimensions=512)]),
        (lambda: [tei(text_instruction="passage: ")], lambda: [tei(text_instruction="")]),
        (lambda: [tei(query_instruction="query: ")], lambda: [tei(query_instruction="ask: ")]),
        (lambda: [tei(truncate_text=True)], lambda: [tei(truncate_text=False)]),
        (
            lambda: [FailoverEmbedding(targets=[openai(dimensions=256)])],
            lambda: [FailoverEmbedding(targets=[openai(dimensions=512)])],
        ),
        (
            lambda: [InfinityClient("http://a", model="m")],
            lambda: [InfinityClient("http://a", model="n")],
        ),
    ],
)
def test_pools_of_different_spaces_have_different_dumps(
    one: Callable[[], list[Any]], other: Callable[[], list[Any]]
) -> None:
    assert dump(*one()) != dump(*other())
    assert dump(*one()) == dump(*one())


def test_the_dump_does_not_depend_on_who_serves_and_holds_no_key() -> None:
    near, far = tei(base_url="http://near"), tei(base_url="http://far", timeout=9.0)

    assert (
        dump(near, far) == dump(far) == dump(Target(near, name="x", weight=3.0), strategy="random")
    )
    for child in (near, openai(api_key=KEY, default_headers={"x": KEY}, additional_kwargs={})):
        pool = FailoverEmbedding(targets=[child], embeddings_cache=SimpleKVStore())
        assert KEY not in f"{pool.to_dict()}{pool.to_json()}{pool!r}{pool}{pool.to_payload()}"


def test_another_process_finds_the_same_name_for_the_space() -> None:
    script = (
        "from llamaindex_failover import FailoverEmbedding as F\n"
        "pool = F.from_urls('http://a,http://b', model='m', dimension=8)\n"
        "print(str(pool.to_dict()))"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = {
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", script],
            env={**environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    pool = FailoverEmbedding.from_urls("http://a,http://b", model="m", dimension=8)
    assert said == {str(pool.to_dict())}


def test_what_is_learned_meanwhile_does_not_change_the_dump() -> None:
    pool = FailoverEmbedding(targets=[Scripted()])
    before = pool.to_dict()

    pool.get_text_embedding_batch(TEXTS)

    assert pool.to_dict() == before


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: FailoverEmbedding(
                targets=[MockEmbedding(8), Target(MockEmbedding(16), name="b")]
            ),
            r"'MockEmbedding' has embed_dim=8, but target 'b' has embed_dim=16.*FailoverRetriever",
        ),
        (
            lambda: FailoverEmbedding(targets=[MockEmbedding(8)], dimension=4),
            r"dimension=4 was declared, but target 'MockEmbedding' has embed_dim=8",
        ),
        (
            lambda: FailoverEmbedding(targets=[openai(dimensions=256), openai(dimensions=512)]),
            r"dimensions=256, but target 'text-embedding-3-small#2' has dimensions=512",
        ),
        (
            lambda: FailoverEmbedding(targets=[tei(text_instruction="passage: "), tei()]),
            r"text_instruction='passage: ', but target 'm#2' has text_instruction=None",
        ),
        (
            lambda: FailoverEmbedding(targets=[openai(), openai(model="text-embedding-3-large")]),
            "different embedding models .*text-embedding-3-large.*FailoverRetriever",
        ),
        (lambda: FailoverEmbedding(targets=[MockEmbedding]), r"targets\[0\].*class MockEmbedding"),
        (lambda: FailoverEmbedding(targets=[MockLLM()]), r"targets\[0\].*MockLLM; give an embed"),
        (lambda: FailoverEmbedding(targets=[Scripted()], dimension=0), "dimension is 0"),
        (
            lambda: FailoverEmbedding(targets=[Scripted()], embed_batch_sise=3),  # type: ignore[call-arg]
            "did you mean 'embed_batch_size'",
        ),
        (lambda: FailoverEmbedding(targets=[Scripted()], embed_batch_size=0), "embed_batch_size"),
        (
            lambda: FailoverEmbedding(targets=[Scripted()], embeddings_cache={}),
            "embeddings_cache is dict; give a key-value store.*SimpleKVStore",
        ),
        (lambda: FailoverEmbedding(targets=["http://a"]), r"targets\[0\] is a URL; say with model"),
    ],
)
def test_what_cannot_share_an_index_or_is_no_embedding_is_refused_with_the_remedy(
    build: Callable[[], Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        build()

    assert KEY not in str(raised.value)


def test_classes_that_name_their_ways_differently_are_trusted() -> None:
    pool = FailoverEmbedding(targets=[tei(), Scripted(model_name="m")])

    assert len(pool.router.targets) == 2


async def test_a_query_is_never_given_the_vector_of_a_text() -> None:
    cache = SimpleKVStore()
    pool = FailoverEmbedding(targets=[Scripted()], embeddings_cache=cache)
    text, query = [4.0, 422.0, 0.0], [4.0, 422.0, 1.0]

    for _ in range(2):
        assert pool.get_text_embedding("boat") == text
        assert pool.get_query_embedding("boat") == query
        assert pool.get_text_embedding_batch(["boat"]) == [text]
        assert await pool.aget_query_embedding("boat") == query
        assert await pool.aget_text_embedding("boat") == text
        assert await pool.aget_text_embedding_batch(["boat"]) == [text]

    child = pool.router.targets[0].client.child
    assert sum("boat" in batch for batch in child.batches) == 2


def test_pools_of_different_spaces_share_a_cache_without_harm() -> None:
    cache = SimpleKVStore()
    last = Scripted(model_name="a")
    children = [Scripted(model_name="a"), MockEmbedding(2, model_name="b"), last]
    pools = [FailoverEmbedding(targets=[child], embeddings_cache=cache) for child in children]

    one, other, again = (pool.get_text_embedding_batch(TEXTS) for pool in pools)

    assert other == [[0.5, 0.5]] * len(TEXTS)
    assert again == one
    assert not last.batches


def test_a_cache_can_be_given_changed_and_taken_away_later() -> None:
    pool = FailoverEmbedding(targets=[Scripted()])
    child = pool.router.targets[0].client.child

    pool.embeddings_cache = SimpleKVStore()
    for _ in range(2):
        pool.get_text_embedding("a")
    pool.embeddings_cache = None
    pool.get_text_embedding("a")

    assert sum("a" in batch for batch in child.batches) == 2


@pytest.mark.parametrize(
    "copied",
    [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy],  # noqa: S301 - ours
    ids=["pickle", "deepcopy"],
)
def test_a_copy_knows_the_space_and_takes_no_vector_of_another(
    copied: Callable[[Any], Any], servers: tuple[FaultServer, FaultServer]
) -> None:
    embedding = FailoverEmbedding.from_urls([one.url for one in servers], model="m")
    vector = embedding.get_text_embedding("one")
    again = copied(copied(embedding))
    servers[0].stop()
    servers[1].fault = OtherModel()
    with pytest.raises(EmbeddingSpaceMismatchError):
        again.get_text_embedding("one")

    servers[0].start()
    again.router.reset()
    assert again.get_text_embedding("one") == vector
