"""FailoverEmbeddings: LangChain's suites, and one vector space whichever target answers."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from typing import Any, cast

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.runnables import RunnableLambda
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from failover_core.errors import (
    AllTargetsFailedError,
    ConfigurationError,
    EmbeddingSpaceMismatchError,
    SpaceMismatchError,
)
from failover_core.testing import FaultServer, faults
from langchain_failover import FailoverEmbeddings, Target

Servers = tuple[FaultServer, FaultServer]
TEXTS = ["a cat on a mat", "the price of tea", "rain in the north"]


def pool(servers: Servers, **settings: Any) -> FailoverEmbeddings:
    return FailoverEmbeddings.from_urls([one.url for one in servers], model="m", **settings)


class Wrapping:
    """Two servers, both of them well."""

    @pytest.fixture(autouse=True)
    def _servers(self, servers: Servers) -> None:
        self.harm(servers[0])
        self.urls = [server.url for server in servers]

    def harm(self, primary: FaultServer) -> None:
        """Do to the first server what the class is about."""

    @property
    def embeddings_class(self) -> type[FailoverEmbeddings]:
        return FailoverEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"targets": self.urls, "model": "m", "batch_size": 1}


class TestUnit(Wrapping, EmbeddingsUnitTests):
    """The unit suite."""


class TestIntegration(Wrapping, EmbeddingsIntegrationTests):
    """The integration suite."""


class TestUnitWithDeadPrimary(TestUnit):
    """The unit suite, the first target dead."""

    def harm(self, primary: FaultServer) -> None:
        primary.stop()


class TestIntegrationWithDeadPrimary(TestIntegration):
    """The integration suite, the first target dead."""

    def harm(self, primary: FaultServer) -> None:
        primary.stop()


class TestIntegrationWithPrimaryDyingBetweenBatches(TestIntegration):
    """The integration suite, the first target dying after its first batch."""

    def harm(self, primary: FaultServer) -> None:
        primary.script([None, *[faults.Reset()] * 100])


FAULTS = [
    faults.Refuse(),
    faults.Status(500),
    faults.RetryAfter(30),
    faults.WrongCount(),
    faults.NotFinite(),
    faults.Garbage(),
    faults.ErrorInside200(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name())
@pytest.mark.parametrize("is_async", [False, True])
async def test_vectors_are_the_same_whichever_target_gives_them(
    fault: faults.Fault,
    is_async: bool,  # noqa: FBT001
    servers: Servers,
) -> None:
    embeddings = pool(servers)
    expected = embeddings.embed_documents(TEXTS), embeddings.embed_query(TEXTS[0])
    servers[0].fault = fault

    if is_async:
        documents = await embeddings.aembed_documents(TEXTS)
        query = await embeddings.aembed_query(TEXTS[0])
    else:
        documents, query = embeddings.embed_documents(TEXTS), embeddings.embed_query(TEXTS[0])

    assert (documents, query) == expected
    assert embeddings.router.status().failed_over >= 1


class Halves(Embeddings):
    """Gives queries another vector than documents, and numbers that float32 cannot hold."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[len(text) / 3, 1 / 3] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1 / 7, 1 / 9]


class Broken(Embeddings):
    """Never answers."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise ConnectionError

    def embed_query(self, text: str) -> list[float]:
        raise ConnectionError


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_wrapped_objects_numbers_come_out_exactly(is_async: bool) -> None:  # noqa: FBT001
    embeddings = FailoverEmbeddings(targets=[Broken(), Halves()])

    if is_async:
        documents = await embeddings.aembed_documents(TEXTS)
        query = await embeddings.aembed_query("x")
    else:
        documents, query = embeddings.embed_documents(TEXTS), embeddings.embed_query("x")

    assert documents == Halves().embed_documents(TEXTS)
    assert query == [1 / 7, 1 / 9]
    assert all(type(number) is float for number in query)


def test_no_text_asks_nobody() -> None:
    assert FailoverEmbeddings(targets=[Broken()]).embed_documents([]) == []


def test_an_empty_text_is_sent_as_it_is(servers: Servers) -> None:
    pool(servers, verify="declared").embed_query("")

    assert servers[0].requests[-1].body["input"] == [""]


@pytest.mark.parametrize("is_async", [False, True])
async def test_only_a_failed_batch_moves_on(is_async: bool, servers: Servers) -> None:  # noqa: FBT001
    embeddings = pool(servers, batch_size=2, verify="declared", spread=False)
    servers[0].script([None, faults.Status(500), None])
    texts = [f"text number {number}" for number in range(6)]

    vectors = (
        await embeddings.aembed_documents(texts) if is_async else embeddings.embed_documents(texts)
    )

    assert [len(server.requests) for server in servers] == [3, 1]
    assert np.allclose(vectors, pool(servers).embed_documents(texts))


class Native(Broken):
    """Embeds in the event loop alone, and notes where."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.threads.add(threading.get_ident())
        return Halves().embed_documents(texts)

    async def aembed_query(self, text: str) -> list[float]:
        self.threads.add(threading.get_ident())
        return Halves().embed_query(text)


async def test_async_calls_stay_in_the_event_loop() -> None:
    child = Native()
    embeddings = FailoverEmbeddings(targets=[child])

    await embeddings.aembed_documents(TEXTS)
    await embeddings.aembed_query("x")

    assert child.threads == {threading.get_ident()}


def test_an_answer_of_another_dimension_is_never_used(servers: Servers) -> None:
    other = DeterministicFakeEmbedding(size=7)
    embeddings = FailoverEmbeddings(targets=[servers[0].url, other], model="m")
    embeddings.embed_query("x")
    servers[0].stop()

    with pytest.raises(AllTargetsFailedError) as caught:
        embeddings.embed_query("x")

    assert isinstance(caught.value.exceptions[1], SpaceMismatchError)


def test_targets_of_different_models_are_refused_unless_one_model_is_declared() -> None:
    class Named(DeterministicFakeEmbedding):
        model: str

    targets = [Named(size=3, model="small"), Named(size=3, model="large")]

    with pytest.raises(ConfigurationError, match=r"small.*large.*FailoverRetriever"):
        FailoverEmbeddings(targets=targets)
    with pytest.raises(ConfigurationError, match="different embedding models"):
        FailoverEmbeddings(targets=targets, verify="declared")
    FailoverEmbeddings(targets=targets, model="small")
    FailoverEmbeddings(targets=targets, verify="off")


def test_names_and_kinds_of_targets_may_be_mixed(servers: Servers) -> None:
    embeddings = FailoverEmbeddings(
        targets=[f"{servers[0].url}, {servers[1].url}", Target(Halves(), name="local")], model="m"
    )

    names = [target.name for target in embeddings.router.targets]
    assert names == [*(server.url.removeprefix("http://") for server in servers), "local"]


def test_copies_share_the_router_and_its_dimension(servers: Servers) -> None:
    embeddings = pool(servers)
    embeddings.embed_query("x")

    for one in (embeddings.model_copy(), copy.deepcopy(embeddings)):
        assert one.router is embeddings.router
        assert one._embedder is embeddings._embedder


def test_a_key_is_sent_and_otherwise_nowhere(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "sk-canary-0123456789"
    monkeypatch.setenv("EMBEDDING_KEY", key)
    urls = [server.url for server in servers]
    literal = FailoverEmbeddings(targets=urls, model="m", api_key=cast("Any", key))
    referred = FailoverEmbeddings.from_urls(urls, model="m", api_key="${EMBEDDING_KEY}")

    literal.embed_query("x")
    again: Any = pickle.loads(pickle.dumps(referred))  # noqa: S301
    again.embed_query("x")

    assert [one.headers["authorization"] for one in servers[0].requests] == [f"Bearer {key}"] * 2
    assert key not in repr(literal) + repr(literal.model_dump()) + str(pickle.dumps(referred))
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        pickle.dumps(literal)
    assert key not in str(caught.value)


async def test_questions_of_one_moment_share_a_request_only_with_those_of_the_same_choice(
    servers: Servers,
) -> None:
    targets = [Target(server.url, name=name) for server, name in zip(servers, "ab", strict=True)]
    embeddings = FailoverEmbeddings(targets=targets, model="m", verify="off")
    chain = RunnableLambda(embeddings.embed_query, afunc=embeddings.aembed_query)
    chosen = [(f"question {number}", "ab"[number % 2]) for number in range(20)]

    await asyncio.gather(
        *(chain.ainvoke(text, {"configurable": {"failover": name}}) for text, name in chosen)
    )

    for server, name in zip(servers, "ab", strict=True):
        sent = [text for request in server.requests for text in request.body["input"]]
        assert sorted(sent) == sorted(text for text, wanted in chosen if wanted == name)
        assert len(server.requests) < len(sent)


COPIES: dict[str, Any] = {
    "pickle": lambda one: pickle.loads(pickle.dumps(one)),  # noqa: S301 - ours
    "deepcopy": copy.deepcopy,
    "model_copy": lambda one: one.model_copy(update={"batch_size": 2}),
}


@pytest.mark.parametrize("made", COPIES)
def test_a_copy_knows_the_space_and_takes_no_vector_of_another(made: str, servers: Servers) -> None:
    embeddings = pool(servers)
    vectors = embeddings.embed_documents(TEXTS)
    again = COPIES[made](COPIES[made](embeddings))
    servers[0].stop()
    servers[1].fault = faults.OtherModel()
    with pytest.raises(EmbeddingSpaceMismatchError):
        again.embed_documents(TEXTS)

    servers[0].start()
    again.router.reset()
    assert again.embed_documents(TEXTS) == vectors


def test_a_copy_for_other_targets_knows_no_space(servers: Servers) -> None:
    embeddings = pool(servers)
    vectors = embeddings.embed_documents(TEXTS)
    servers[0].set_fault(faults.OtherModel())
    copied = embeddings.model_copy(update={"targets": pool(servers).router.targets})
    assert copied.embed_documents(TEXTS) != vectors
