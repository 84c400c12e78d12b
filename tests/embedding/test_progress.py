"""A bar of tqdm, as it is written, tells how many texts have their vectors."""

from __future__ import annotations

import asyncio
import io
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings

from failover_core import PartialEmbeddingError
from failover_core.testing import FaultServer
from failover_core.testing.fixtures import fault_server, fault_servers
from langchain_failover import FailoverEmbeddings
from llamaindex_failover import FailoverEmbedding
from tests.conftest import Call

__all__ = ["fault_server", "fault_servers"]

Bar = Callable[[], list[str]]

TEXTS = [f"boat {number}" for number in range(100)]


class Model(Embeddings):
    """Embeds a text as its length, unless it is told to fail.

    Attributes:
        answers: texts that it embeds before its server dies.
        poison: a text that it refuses, and no other one.
    """

    def __init__(self, answers: float = float("inf"), poison: str | None = None) -> None:
        self.answers = answers
        self.poison = poison

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.answers -= len(texts)
        if self.answers < 0:
            raise ConnectionError
        if self.poison in texts:
            "\ud800".encode()
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.embed_documents(texts)


def pool(*models: Any, **settings: Any) -> FailoverEmbeddings:
    given = {"batch_size": 10, "verify": "declared", "show_progress": True, **settings}
    return FailoverEmbeddings(targets=models, **given)


@pytest.fixture
def bar(capsys: pytest.CaptureFixture[str]) -> Bar:
    """Return what reads a bar's counts, in their order."""

    def counts() -> list[str]:
        written = capsys.readouterr().err
        assert written.count("\n") == bool(written)  # one bar, and it is closed
        return re.findall(r"(\d+/\d+|\d+ texts) \[", written)

    return counts


async def test_it_counts_every_text(call: Call, bar: Bar) -> None:
    await call(pool(Model()), "embed_documents", TEXTS)

    assert bar()[-1] == "100/100"


async def test_equal_texts_count_as_often_as_they_are_given(call: Call, bar: Bar) -> None:
    await call(pool(Model()), "embed_documents", [*TEXTS, "x", *TEXTS[:50], "x"])

    assert bar()[-1] == "152/152"


async def test_a_generator_is_counted_first(call: Call, bar: Bar) -> None:
    await call(pool(Model()), "embed_documents", iter(TEXTS))

    assert bar()[-1] == "100/100"


async def test_what_another_target_embeds_counts_once(call: Call, bar: Bar) -> None:
    await call(pool(Model(answers=55), Model()), "embed_documents", TEXTS)

    assert bar()[-1] == "100/100"


async def test_after_an_outage_it_stands_where_the_vectors_end(call: Call, bar: Bar) -> None:
    with pytest.raises(PartialEmbeddingError) as caught:
        await call(pool(Model(answers=55)), "embed_documents", TEXTS)

    assert bar()[-1] == f"{len(caught.value.results)}/100"
    assert len(caught.value.results) == 50


async def test_the_text_that_nobody_takes_is_not_counted(call: Call, bar: Bar) -> None:
    with pytest.raises(PartialEmbeddingError):
        await call(pool(Model(poison=TEXTS[37])), "embed_documents", TEXTS)

    assert bar()[-1] == "99/100"


async def test_what_is_known_counts_at_once(call: Call, bar: Bar) -> None:
    known = pool(Model(), verify="canary", cache=True, show_progress=False)
    await call(known, "embed_documents", TEXTS)
    known.show_progress = True
    await call(known, "embed_documents", TEXTS)

    assert bar()[-1] == "100/100"


async def test_a_pool_inside_a_pool_counts_nothing_of_its_own(call: Call, bar: Bar) -> None:
    inner = pool(Model(), batch_size=3, show_progress=False)
    await call(pool(inner), "embed_documents", TEXTS)

    assert bar()[-1] == "100/100"


async def test_queries_have_none_and_no_text_has_an_empty_one(call: Call, bar: Bar) -> None:
    embeddings = pool(Model())
    await call(embeddings, "embed_query", "x")
    assert not bar()

    await call(embeddings, "embed_documents", [])
    assert bar() == ["0 texts", "0 texts"]


async def test_it_is_off_unless_wanted(call: Call, bar: Bar) -> None:
    await call(pool(Model(), show_progress=False), "embed_documents", TEXTS)

    assert not bar()


@pytest.mark.parametrize("framework", ["langchain", "llamaindex"])
async def test_a_stream_shows_a_running_count(
    is_async: bool,  # noqa: FBT001 - a fixture
    framework: str,
    bar: Bar,
) -> None:
    model = pool(Model(), show_progress=framework == "langchain")
    options: dict[str, Any] = {}
    owner: Any = model
    if framework == "llamaindex":
        owner = FailoverEmbedding(targets=[Core(model)], embed_batch_size=10)
        options = {"show_progress": True}

    if is_async:
        arrays = [array async for array in owner.aiter_embed(iter(TEXTS), **options)]
    else:
        arrays = list(owner.iter_embed(iter(TEXTS), **options))

    assert bar()[-1] == "100 texts"
    assert np.concatenate(arrays)[:, 0].tolist() == [len(text) for text in TEXTS]


class Core:
    """A pool as a client of the core."""

    model = "m"

    def __init__(self, inner: FailoverEmbeddings) -> None:
        self._inner = inner

    def embed(self, texts: Sequence[str], kind: Any) -> Any:
        return self._inner.embed_documents(list(texts))

    async def aembed(self, texts: Sequence[str], kind: Any) -> Any:
        return await self._inner.aembed_documents(list(texts))


async def test_calls_of_one_moment_have_a_bar_each(
    fault_server: FaultServer, capsys: pytest.CaptureFixture[str]
) -> None:
    embeddings = FailoverEmbeddings.from_urls(fault_server.url, model="m", show_progress=True)
    await asyncio.gather(*(embeddings.aembed_documents([text]) for text in TEXTS[:3]))
    await embeddings.router.aclose()

    written = capsys.readouterr().err
    assert written.count("100%") == written.count("1/1 [") == 3


def test_a_broken_stream_of_texts_leaves_the_count_of_what_was_yielded(bar: Bar) -> None:
    embeddings = pool(Model(poison=TEXTS[77]))

    with pytest.raises(PartialEmbeddingError, match=r"texts\[77\]"):
        list(embeddings.iter_embed(TEXTS))

    assert bar()[-1] == "40 texts"


async def test_a_terminal_that_is_gone_costs_no_vector(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(io.StringIO):
        writes = 0

        def write(self, text: str) -> int:
            self.writes += 1
            if self.writes > 1:
                raise BrokenPipeError
            return len(text)

    monkeypatch.setattr(sys, "stderr", Gone())

    assert len(await call(pool(Model()), "embed_documents", TEXTS)) == len(TEXTS)


async def test_without_tqdm_the_remedy_is_named_before_anything_is_sent(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    model = Model(answers=0)

    with pytest.raises(ImportError, match=r'pip install "rag-failover\[progress\]"'):
        await call(pool(model), "embed_documents", TEXTS)
    assert model.answers == 0


def test_it_is_no_setting_of_the_pool_and_can_be_given_with_urls() -> None:
    embeddings = FailoverEmbeddings.from_urls("http://127.0.0.1:9", model="m", show_progress=True)

    assert embeddings.show_progress
    assert embeddings.model_copy(update={"show_progress": False}).router is embeddings.router
