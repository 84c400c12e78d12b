"""Whatever cannot work is refused when the object is built, by an error that names the remedy."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from failover_core.errors import ConfigurationError
from langchain_failover import (
    FailoverChatModel,
    FailoverEmbeddings,
    FailoverReranker,
    FailoverRetriever,
    Target,
)
from tests.langchain.children import Told

EMBEDDINGS = DeterministicFakeEmbedding(size=3)
STORE = InMemoryVectorStore(EMBEDDINGS)
SERVER = "http://127.0.0.1:9"
KEY = "sk-canary 0123456789"

BAD: list[tuple[type[Any], dict[str, Any], str]] = [
    (FailoverChatModel, {"targets": []}, "targets is empty"),
    (FailoverChatModel, {"targets": None}, "targets must be a list, not NoneType"),
    (FailoverChatModel, {"targets": Told()}, "targets must be a list, not Told"),
    (FailoverChatModel, {"targets": [Told(), "x"]}, r"targets\[1\] \('str'\) is str; .*from_urls"),
    (FailoverChatModel, {"targets": [Told]}, r"targets\[0\] .* is the class Told; pass an inst"),
    (FailoverChatModel, {"targets": [EMBEDDINGS]}, "DeterministicFakeEmbedding; pass a chat model"),
    (FailoverChatModel, {"targets": [Told().with_retry()]}, "RunnableRetry; pass the model inside"),
    (FailoverChatModel, {"targets": [Told().with_fallbacks([Told()])]}, "fallbacks are targets"),
    (FailoverChatModel, {"targets": [Target(Told(), name="a")] * 2}, "two targets are named 'a'"),
    (FailoverChatModel, {"targets": [Told()], "strategy": "prioritty"}, "did you mean 'priority'"),
    (FailoverChatModel, {"targets": [Told()], "policy": {"total_timeout": -1}}, "total_timeout"),
    (FailoverChatModel, {"targets": [Told()], "polcy": {}}, "polcy: .* did you mean 'policy'"),
    (FailoverChatModel, {}, "targets"),
    (FailoverEmbeddings, {"targets": [SERVER]}, "model="),
    (FailoverEmbeddings, {"targets": ["127.0.0.1:9"], "model": "m"}, "http"),
    (FailoverEmbeddings, {"targets": ["http://u:p@h"], "model": "m"}, "credentials"),
    (FailoverEmbeddings, {"targets": [SERVER], "model": "m", "api_key": KEY}, "api_key"),
    (FailoverEmbeddings, {"targets": [SERVER], "model": "m", "provider": "x"}, "provider"),
    (FailoverEmbeddings, {"targets": [Told()]}, "Told; pass an Embeddings object"),
    (FailoverEmbeddings, {"targets": [EMBEDDINGS], "batch_size": 0}, "batch_size"),
    (FailoverEmbeddings, {"targets": [EMBEDDINGS], "dimension": 0}, "dimension"),
    (FailoverReranker, {"targets": [EMBEDDINGS]}, "pass a document compressor"),
    (FailoverReranker, {"targets": [SERVER], "model": "m", "top_n": 0}, "top_n"),
    (FailoverReranker, {"targets": [SERVER], "model": "m", "score_threshold": "x"}, "score_thre"),
    (FailoverRetriever, {"targets": [STORE]}, r"InMemoryVectorStore; pass its \.as_retriever"),
    (FailoverRetriever, {"targets": [Told()]}, "Told; pass a retriever"),
]


@pytest.mark.parametrize(("cls", "arguments", "message"), BAD, ids=[one[2] for one in BAD])
def test_bad_input_is_refused_with_a_remedy(
    cls: type[Any], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        cls(**arguments)

    assert KEY not in str(caught.value)


BAD_URLS: list[tuple[dict[str, Any], str]] = [
    ({"urls": " , ", "model": "m"}, "urls"),
    ({"urls": "ftp://h", "model": "m"}, "http"),
    ({"urls": "http://u:p@h", "model": "m"}, "credentials"),
    ({"urls": SERVER, "model": " "}, "model"),
    ({"urls": SERVER, "model": "m", "api_key": "a\nb"}, "api_key"),
    ({"urls": SERVER, "model": "m", "api_key": ["a", "b"]}, "2 keys for 1 URLs"),
    ({"urls": SERVER, "model": "m", "timeot": 3}, "timeot"),
]


@pytest.mark.parametrize("cls", [FailoverChatModel, FailoverEmbeddings, FailoverReranker])
@pytest.mark.parametrize(("arguments", "message"), BAD_URLS, ids=[one[1] for one in BAD_URLS])
def test_bad_urls_are_refused(cls: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        cls.from_urls(**arguments)


@pytest.mark.parametrize("cls", [FailoverChatModel, FailoverEmbeddings, FailoverReranker])
def test_spaces_and_a_trailing_comma_are_forgiven(cls: Any) -> None:
    model = cls.from_urls(" http://a:1 , http://b:2, ", model="m")

    assert [target.name for target in model.router.targets] == ["a:1", "b:2"]


def test_two_keys_of_one_server_are_two_targets() -> None:
    model = FailoverChatModel.from_urls("http://a:1,http://a:1", model="m", api_key="one,two")

    assert [target.name for target in model.router.targets] == ["a:1", "a:1#2"]


def test_settings_of_children_are_left_to_them_with_a_word(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        FailoverChatModel(targets=[Told()], temperature=0, max_tokens=5)

    assert "ignores max_tokens, temperature: set it on each target" in caplog.text


@pytest.mark.parametrize("answer", ["text", None, [Document("a"), "b"]])
def test_a_retriever_that_answers_with_something_else_has_failed(answer: Any) -> None:
    from langchain_core.runnables import RunnableLambda  # noqa: PLC0415

    good: RunnableLambda[str, Any] = RunnableLambda(lambda _: [Document("found")])
    retriever = FailoverRetriever(targets=[RunnableLambda(lambda _: answer), good])

    assert retriever.invoke("x") == [Document("found")]


ENVIRONMENT = {
    FailoverEmbeddings: ("EMBEDDING_MODEL", "INFINITY_BASE_URL", {}),
    FailoverReranker: ("RERANKER_MODEL", "INFINITY_BASE_URL", {}),
    FailoverChatModel: (None, "OPENAI_BASE_URL", {"model": "m"}),
}


@pytest.mark.parametrize("cls", ENVIRONMENT)
def test_from_env_builds_a_target_for_each_url(cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, urls, arguments = ENVIRONMENT[cls]
    monkeypatch.setenv(urls, "http://a:1,http://b:2,")
    if model:
        monkeypatch.setenv(model, "m")
    monkeypatch.setenv("REQUEST_TIMEOUT", "7")
    monkeypatch.setenv("DAILY_REQUEST_LIMIT", "9")

    pool = cls.from_env(**arguments)

    assert [target.name for target in pool.router.targets] == ["a:1", "b:2"]
    assert pool.router.policy.attempt_timeout == 7
    assert [target.requests_per_day for target in pool.router.targets] == [9, 9]


@pytest.mark.parametrize("cls", ENVIRONMENT)
def test_from_env_names_the_variable_that_is_missing(
    cls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, urls, arguments = ENVIRONMENT[cls]
    monkeypatch.delenv(urls, raising=False)

    with pytest.raises(ConfigurationError, match=urls):
        cls.from_env(**arguments)
