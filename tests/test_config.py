"""From URLs and environment variables to targets and settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr
from tenacity import RetryCallState

from failover_core import ConfigurationError, FailoverPolicy, ProbePolicy, Router, Target
from failover_core.children import check_one_model, warn_about_children
from failover_core.config import (
    chat_arguments,
    embedding_arguments,
    policy_from_env,
    reranker_arguments,
)
from failover_core.testing import ScriptedClient
from failover_core.url_targets import limited, split_urls, with_url_clients

EMBEDDING = {"INFINITY_BASE_URL": "http://a:7997,http://b:7997", "EMBEDDING_MODEL": "bge"}
RERANKER = {"INFINITY_BASE_URL": "http://a:7997", "RERANKER_MODEL": "ranker"}
CHAT = {"OPENAI_BASE_URL": "http://a/v1"}
KEY = "sk-canary-key"


@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("http://a", ["http://a"]),
        (" http://a , http://b ,, ", ["http://a", "http://b"]),
        (["http://a,http://b", "http://c"], ["http://a", "http://b", "http://c"]),
        (",", []),
        ([], []),
    ],
)
def test_commas_separate_urls_and_spaces_are_forgiven(given: Any, urls: list[str]) -> None:
    assert split_urls(given) == urls


def built(*targets: Any, **options: Any) -> list[Any]:
    settings = {"model": "bge", "provider": "infinity", "api_key": None, **options}
    return with_url_clients(list(targets), **settings)


def test_strings_become_clients_in_their_place_and_objects_stay() -> None:
    child = object()
    made = built("http://a:7997, http://b:7997", child, "http://c:7997")
    assert [getattr(client, "name", client) for client in made] == [
        "a:7997",
        "b:7997",
        child,
        "c:7997",
    ]


def test_a_target_of_a_url_keeps_its_name_and_limits() -> None:
    target = Target("http://a:7997", name="alpha", attempt_timeout=3)
    (found,) = with_url_clients([target], model="m", provider="infinity", api_key=None)
    assert (found.name, found.attempt_timeout) == ("alpha", 3)
    assert found.client.name == "a:7997"


@pytest.mark.parametrize("empty", ["", " , ", Target(" ", name="a")])
def test_a_string_without_a_url_is_refused_by_its_place(empty: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"targets\[1\] is a string without a URL"):
        with_url_clients(["http://a:1", empty], model="m", provider="infinity", api_key=None)


def test_options_reach_every_client() -> None:
    made = built("http://a:7997,http://b:7997", timeout=7)
    assert [client.default_attempt_timeout for client in made] == [7, 7]


def test_objects_alone_need_no_model_and_the_callers_list_is_left_as_it_is() -> None:
    targets = [object(), object()]
    given = list(targets)
    assert with_url_clients(targets, model=None, provider="infinity", api_key=None) == given
    assert targets == given


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        (["http://a"], {"model": None}, "say with model=… what to ask it for"),
        (["ftp://a"], {}, "http"),
        (["a:7997"], {}, "http"),
        (["http://"], {}, "URL|host"),
        (["http://me:secret@a"], {}, "credential|user|key"),
        (["http://a"], {"api_key": "two\nlines"}, "key"),
        (["http://a"], {"api_key": "schlüssel"}, "key"),
        (["http://a"], {"provider": "infinty"}, "infinity"),
        (["http://a"], {"timeout": -1}, "timeout"),
    ],
    ids=repr,
)
def test_a_bad_url_key_or_option_is_refused_without_showing_a_secret(
    targets: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        built(*targets, **options)
    assert not any(secret in str(caught.value) for secret in ("secret", "lines", "schl"))


def test_the_environment_says_all_that_embeddings_need() -> None:
    arguments = embedding_arguments(
        EMBEDDING
        | {"INFINITY_TOKEN": KEY, "INFINITY_TIMEOUT": "2.5", "EMBEDDING_DIMENSION": " 384 "}
    )
    assert arguments["urls"] == ["http://a:7997", "http://b:7997"]
    assert (arguments["model"], arguments["provider"]) == ("bge", "infinity")
    assert (arguments["timeout"], arguments["dimension"]) == (2.5, 384)
    assert arguments["api_key"] in (KEY, SecretStr(KEY))
    assert arguments["policy"] == FailoverPolicy()


def test_what_the_environment_does_not_say_is_left_to_the_defaults() -> None:
    arguments = embedding_arguments(EMBEDDING)
    assert (arguments["dimension"], arguments["api_key"]) == (None, None)
    assert "timeout" not in arguments


def test_another_provider_has_its_own_variables() -> None:
    arguments = embedding_arguments(
        {
            "EMBEDDING_PROVIDER": "openai",
            "EMBEDDING_MODEL": "m",
            "OPENAI_BASE_URL": "https://o/v1,",
            "OPENAI_API_KEY": KEY,
        }
    )
    assert (arguments["urls"], arguments["provider"]) == (["https://o/v1"], "openai")


@pytest.mark.parametrize(
    ("provider", "variables", "urls", "key"),
    [
        ("tei", {"TEI_BASE_URL": "http://t:80,http://u:80", "TEI_TOKEN": KEY}, None, KEY),
        ("ollama", {"OLLAMA_URL": "http://o:11434"}, ["http://o:11434"], None),
        ("cohere", {"COHERE_API_KEY": KEY}, ["https://api.cohere.com"], KEY),
        ("jina", {"JINA_API_KEY": KEY}, ["https://api.jina.ai/v1"], KEY),
        ("Voyage", {"VOYAGE_API_KEY": "k1, k2,"}, ["https://api.voyageai.com/v1"] * 2, "k1, k2,"),
    ],
)
def test_each_provider_has_its_own_variables_and_hosted_ones_need_only_a_key(
    provider: str, variables: dict[str, str], urls: list[str] | None, key: str | None
) -> None:
    chosen = {"EMBEDDING_PROVIDER": provider, "EMBEDDING_MODEL": "m"}
    arguments = embedding_arguments(chosen | variables)
    assert arguments["urls"] == (urls or ["http://t:80", "http://u:80"])
    assert arguments["api_key"] == key
    made = with_url_clients(
        arguments["urls"], model="m", provider=arguments["provider"], api_key=arguments["api_key"]
    )
    assert {type(client).__name__.removesuffix("Client").lower() for client in made} == {
        provider.lower()
    }


@pytest.mark.parametrize("provider", ["tei", "cohere", "jina", "voyage"])
def test_each_provider_that_reranks_is_chosen_by_its_name(provider: str) -> None:
    arguments = reranker_arguments(
        {
            "RERANKER_PROVIDER": provider,
            "RERANKER_MODEL": "m",
            "TEI_BASE_URL": "http://t:80",
            "TEI_RERANK_URL": "http://r:80",
            f"{provider.upper()}_API_KEY": KEY,
        }
    )
    assert (arguments["provider"], len(arguments["urls"])) == (provider, 1)
    assert provider != "tei" or arguments["urls"] == ["http://r:80"]


@pytest.mark.parametrize(
    ("read", "variables", "message"),
    [
        (reranker_arguments, {"RERANKER_PROVIDER": "ollama"}, "which cannot rerank"),
        (embedding_arguments, {"EMBEDDING_PROVIDER": "cohere"}, "COHERE_API_KEY is not set"),
        (embedding_arguments, {"EMBEDDING_PROVIDER": "tei"}, "TEI_BASE_URL is not set"),
        (embedding_arguments, {"EMBEDDING_PROVIDER": "ollama"}, "OLLAMA_URL is not set"),
    ],
)
def test_what_a_provider_lacks_is_named(
    read: Callable[[dict[str, str]], Any], variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read({"EMBEDDING_MODEL": "m", "RERANKER_MODEL": "m", **variables})


def test_a_vendors_own_service_needs_no_url() -> None:
    made = with_url_clients(None, model="m", provider="jina", api_key=["k1", "k2"])
    assert [client._settings.secret for client in made] == ["k1", "k2"]
    with pytest.raises(ConfigurationError, match="TEIClient has no server of its own"):
        with_url_clients(None, model="m", provider="tei", api_key=None)


def test_reranking_prefers_its_own_url_and_reads_its_own_numbers() -> None:
    assert reranker_arguments(RERANKER)["urls"] == ["http://a:7997"]
    arguments = reranker_arguments(
        RERANKER
        | {
            "INFINITY_RERANK_URL": "http://r:7997",
            "RERANKER_DEFAULT_TOP_K": "5",
            "RERANKER_SCORE_THRESHOLD": "0",
        }
    )
    assert arguments["urls"] == ["http://r:7997"]
    assert (arguments["top_n"], arguments["score_threshold"]) == (5, 0.0)
    assert arguments["score_threshold"] is not None


def test_chat_reads_url_and_key() -> None:
    arguments = chat_arguments(CHAT | {"OPENAI_API_KEY": KEY})
    assert arguments["urls"] == ["http://a/v1"]
    assert arguments["api_key"] in (KEY, SecretStr(KEY))


def test_the_policy_reads_its_variables_and_an_explicit_zero_survives() -> None:
    policy = policy_from_env(
        {
            "REQUEST_TIMEOUT": "12",
            "MAX_RETRIES_PER_REQUEST": "0",
            "BACKOFF_FACTOR": "0",
            "MAX_CONSECUTIVE_FAILURES": "1",
        }
    )
    assert (policy.attempt_timeout, policy.retry.attempts) == (12, 1)
    assert policy.breaker.consecutive_failures == 1
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    assert policy.retry.wait
    assert policy.retry.wait(state) == 0


def test_either_variable_of_health_checks_turns_probes_on() -> None:
    both = policy_from_env({"HEALTH_CHECK_INTERVAL": "30", "HEALTH_CHECK_TIMEOUT": "2.5"})

    assert both.probe == ProbePolicy(interval=30, timeout=2.5)
    assert policy_from_env({"HEALTH_CHECK_INTERVAL": "30"}).probe == ProbePolicy(interval=30)
    assert policy_from_env({"HEALTH_CHECK_TIMEOUT": "2"}).probe == ProbePolicy(timeout=2)
    assert policy_from_env({"HEALTH_CHECK_TIMEOUT": " "}).probe is None


@pytest.mark.parametrize("variable", ["HEALTH_CHECK_INTERVAL", "HEALTH_CHECK_TIMEOUT"])
def test_health_checks_that_outlast_their_interval_are_refused(variable: str) -> None:
    value = {"HEALTH_CHECK_INTERVAL": "3", "HEALTH_CHECK_TIMEOUT": "90"}[variable]
    with pytest.raises(ConfigurationError, match=f"{variable}.*lower the first or raise"):
        policy_from_env({variable: value})


@pytest.mark.parametrize(
    ("read", "variables"),
    [(embedding_arguments, EMBEDDING), (reranker_arguments, RERANKER), (chat_arguments, CHAT)],
)
def test_limits_are_those_of_each_target(
    read: Callable[[dict[str, str]], Any], variables: dict[str, str]
) -> None:
    arguments = read(variables | {"REQUESTS_PER_MINUTE": "0.5", "DAILY_REQUEST_LIMIT": "1000"})

    assert (arguments["requests_per_minute"], arguments["requests_per_day"]) == (0.5, 1000)
    assert not read(variables).keys() & {"requests_per_minute", "requests_per_day"}


def test_limits_go_to_every_target_and_the_rest_to_their_clients() -> None:
    urls = [Target("http://a:1", name="alpha"), "http://b:2"]
    made = limited(
        with_url_clients,
        urls,
        model="m",
        provider="tei",
        api_key=None,
        timeout=3,
        max_concurrency=2,
    )

    assert [target.label for target in made] == ["alpha", "b:2"]
    assert [target.max_concurrency for target in made] == [2, 2]
    assert [target.client.default_attempt_timeout for target in made] == [3, 3]
    with pytest.raises(ConfigurationError, match="Target 'alpha': requests_per_day is 0"):
        limited(with_url_clients, urls, model="m", provider="tei", api_key=None, requests_per_day=0)


def test_retries_are_sends_after_the_first() -> None:
    assert policy_from_env({"MAX_RETRIES_PER_REQUEST": "2"}).retry.attempts == 3


def test_the_real_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (EMBEDDING | {"REQUEST_TIMEOUT": "3"}).items():
        monkeypatch.setenv(name, value)
    arguments = embedding_arguments()
    assert arguments["model"] == "bge"
    assert arguments["policy"].attempt_timeout == 3


@pytest.mark.parametrize(
    ("read", "name", "value"),
    [
        (embedding_arguments, "INFINITY_BASE_URL", ""),
        (embedding_arguments, "INFINITY_BASE_URL", " , "),
        (embedding_arguments, "INFINITY_BASE_URL", "http://a,b:7997"),
        (embedding_arguments, "INFINITY_BASE_URL", "file:///etc/passwd"),
        (embedding_arguments, "EMBEDDING_MODEL", " "),
        (embedding_arguments, "EMBEDDING_PROVIDER", "infinty"),
        (embedding_arguments, "EMBEDDING_DIMENSION", "many"),
        (embedding_arguments, "EMBEDDING_DIMENSION", "0"),
        (embedding_arguments, "EMBEDDING_DIMENSION", "3.5"),
        (embedding_arguments, "INFINITY_TIMEOUT", "-1"),
        (embedding_arguments, "INFINITY_TIMEOUT", "nan"),
        (reranker_arguments, "RERANKER_MODEL", ""),
        (reranker_arguments, "RERANKER_PROVIDER", "?"),
        (reranker_arguments, "RERANKER_DEFAULT_TOP_K", "0"),
        (reranker_arguments, "RERANKER_SCORE_THRESHOLD", "inf"),
        (reranker_arguments, "INFINITY_RERANK_URL", "r:7997"),
        (chat_arguments, "OPENAI_BASE_URL", "a/v1"),
        (policy_from_env, "REQUEST_TIMEOUT", "0"),
        (policy_from_env, "REQUEST_TIMEOUT", "soon"),
        (policy_from_env, "REQUEST_TIMEOUT", "inf"),
        (policy_from_env, "MAX_RETRIES_PER_REQUEST", "-1"),
        (policy_from_env, "MAX_RETRIES_PER_REQUEST", "1.5"),
        (policy_from_env, "BACKOFF_FACTOR", "-0.1"),
        (policy_from_env, "MAX_CONSECUTIVE_FAILURES", "0"),
        (policy_from_env, "HEALTH_CHECK_INTERVAL", "0"),
        (policy_from_env, "HEALTH_CHECK_INTERVAL", "often"),
        (policy_from_env, "HEALTH_CHECK_TIMEOUT", "inf"),
        (embedding_arguments, "REQUESTS_PER_MINUTE", "0"),
        (reranker_arguments, "REQUESTS_PER_MINUTE", "many"),
        (chat_arguments, "DAILY_REQUEST_LIMIT", "1e3"),
        (chat_arguments, "DAILY_REQUEST_LIMIT", "-5"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(
    read: Callable[[dict[str, str]], Any], name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=name):
        read({**EMBEDDING, **RERANKER, **CHAT, name: value})


class Named:
    def __init__(self, model: str | None) -> None:
        self.model = model


def targets_of(*clients: Any) -> tuple[Target, ...]:
    return Router(clients).targets


def test_targets_of_one_model_or_of_none_are_a_pool() -> None:
    check_one_model(targets_of(Named("m"), Named("m"), Named(None)), pool="docs", declared=None)
    check_one_model(targets_of(Named("m"), Named("n")), pool="docs", declared="m")


def test_targets_of_different_models_are_refused_with_the_remedies() -> None:
    with pytest.raises(ConfigurationError, match=r"pool 'docs'.*m: m, n: n.*model=….*Retriever"):
        check_one_model(targets_of(Named("m"), Named("n")), pool="docs", declared=None)


class Wrapped:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


@pytest.mark.parametrize(
    ("fields", "policy", "warning"),
    [
        ({"timeout": None}, {}, "its timeout is not set"),
        ({"request_timeout": 600}, {}, "request_timeout of 600 s hides an outage"),
        ({"timeout": 600}, {"attempt_timeout": 30}, ""),
        ({"timeout": 30}, {}, ""),
        ({}, {}, ""),
        ({"max_retries": 2}, {}, "retries 2 times by itself"),
        ({"max_retries": 0}, {}, ""),
        ({"child": Wrapped(timeout=None)}, {}, "its timeout is not set"),
    ],
)
def test_a_wrapped_object_that_would_hide_an_outage_is_named_once(
    fields: dict[str, Any],
    policy: dict[str, Any],
    warning: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    target = Target(Wrapped(**fields), name="slowpoke")
    warn_about_children([target], FailoverPolicy.model_validate(policy))
    assert len(caplog.messages) == bool(warning)
    assert warning in caplog.text
    assert not warning or "'slowpoke'" in caplog.text


def test_a_scripted_client_gives_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    warn_about_children([Target(ScriptedClient("a"))], FailoverPolicy())
    assert not caplog.records
