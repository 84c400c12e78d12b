"""From the environment's variables to the settings of a pool."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from failover_core.clients import PROVIDERS as CLIENTS
from failover_core.clients import RerankEndpoint, own_urls
from failover_core.errors import ConfigurationError
from failover_core.policy import FailoverPolicy, ProbePolicy
from failover_core.url_targets import split_urls

N = TypeVar("N", int, float)

_SHORTEST = 0.001
"""Seconds below which a timeout in a variable is taken for a mistake."""

_NUMBERS: dict[type, str] = {int: "a whole number", float: "a number"}


def embedding_arguments(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments of ``from_urls`` for embeddings, as the environment gives them.

    ``EMBEDDING_PROVIDER`` (default ``infinity``), ``EMBEDDING_MODEL``, ``EMBEDDING_DIMENSION``,
    the provider's own variables (see ``PROVIDERS``), those of ``policy_from_env``, and the limits
    of each target: ``REQUESTS_PER_MINUTE``, ``DAILY_REQUEST_LIMIT``.

    Raises:
        ConfigurationError: a variable is missing or cannot be read; the message names it.
    """
    env = _Environment(environ)
    provider = env.provider("EMBEDDING_PROVIDER")
    return {
        **_server_arguments(env, provider, PROVIDERS[provider].base_url),
        "model": env.required("EMBEDDING_MODEL", "the model that every server has"),
        "dimension": env.number("EMBEDDING_DIMENSION", int, lowest=1),
    }


def reranker_arguments(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments of ``from_urls`` for reranking, as the environment gives them.

    ``RERANKER_PROVIDER`` (default ``infinity``), ``RERANKER_MODEL``, ``RERANKER_DEFAULT_TOP_K``,
    ``RERANKER_SCORE_THRESHOLD``, and the rest as for embeddings, where the provider's own
    variable for reranking, if set, comes before the one of its base URL.

    Raises:
        ConfigurationError: a variable is missing or cannot be read; the message names it.
    """
    env = _Environment(environ)
    provider = env.provider("RERANKER_PROVIDER")
    if not issubclass(CLIENTS[provider], RerankEndpoint):
        message = f"RERANKER_PROVIDER is {provider!r}, which cannot rerank; name another"
        raise ConfigurationError(message)
    variables = PROVIDERS[provider]
    has_own = variables.rerank_url and env.text(variables.rerank_url)
    url_variable = variables.rerank_url if has_own else variables.base_url
    return {
        **_server_arguments(env, provider, url_variable),
        "model": env.required("RERANKER_MODEL", "the model that every server has"),
        "top_n": env.number("RERANKER_DEFAULT_TOP_K", int, lowest=1),
        "score_threshold": env.number("RERANKER_SCORE_THRESHOLD", float),
    }


def chat_arguments(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments of ``from_urls`` for chat: ``OPENAI_BASE_URL``, ``OPENAI_API_KEY``.

    The model has no variable of its own: ``from_env(model=…)`` names it. Policy and limits are
    read as for embeddings.

    Raises:
        ConfigurationError: a variable is missing or cannot be read; the message names it.
    """
    env = _Environment(environ)
    return {
        "urls": env.urls("OPENAI_BASE_URL"),
        "api_key": env.text("OPENAI_API_KEY"),
        "policy": policy_from_env(environ),
        **_limits(env),
    }


def policy_from_env(environ: Mapping[str, str] | None = None) -> FailoverPolicy:
    """Return a policy with what the environment says, and defaults for the rest.

    ``REQUEST_TIMEOUT``: seconds of one attempt. ``MAX_RETRIES_PER_REQUEST``: further sends to
    the same target after the first, 0 included. ``BACKOFF_FACTOR``: seconds of the first
    backoff. ``MAX_CONSECUTIVE_FAILURES``: failures in a row that eject a target.
    ``HEALTH_CHECK_INTERVAL``, ``HEALTH_CHECK_TIMEOUT``: seconds of a ``ProbePolicy``; either of
    them turns active probes on.

    Raises:
        ConfigurationError: a variable cannot be read; the message names it.
    """
    env = _Environment(environ)
    retries = env.number("MAX_RETRIES_PER_REQUEST", int, lowest=0)
    factor = env.number("BACKOFF_FACTOR", float, lowest=0)
    failures = env.number("MAX_CONSECUTIVE_FAILURES", int, lowest=1)
    settings: dict[str, Any] = {"retry": {}, "breaker": {}}
    settings["attempt_timeout"] = env.number("REQUEST_TIMEOUT", float, lowest=_SHORTEST)
    if retries is not None:
        settings["retry"]["attempts"] = retries + 1
    if factor is not None:
        from tenacity import wait_exponential  # noqa: PLC0415 - slow to import, and seldom wanted

        settings["retry"]["wait"] = wait_exponential(multiplier=factor, max=8)
    if failures is not None:
        settings["breaker"]["consecutive_failures"] = failures
    settings["probe"] = _probe(env)
    return FailoverPolicy.model_validate(settings)


@dataclass(frozen=True, slots=True)
class ProviderVariables:
    """The environment variables of one provider; None where it has no such variable."""

    base_url: str | None = None
    api_key: str | None = None
    rerank_url: str | None = None
    timeout: str | None = None


PROVIDERS = {
    "infinity": ProviderVariables(
        "INFINITY_BASE_URL", "INFINITY_TOKEN", "INFINITY_RERANK_URL", "INFINITY_TIMEOUT"
    ),
    "openai": ProviderVariables("OPENAI_BASE_URL", "OPENAI_API_KEY"),
    "tei": ProviderVariables("TEI_BASE_URL", "TEI_TOKEN", "TEI_RERANK_URL"),
    "ollama": ProviderVariables("OLLAMA_URL"),
    "cohere": ProviderVariables(api_key="COHERE_API_KEY"),
    "jina": ProviderVariables(api_key="JINA_API_KEY"),
    "voyage": ProviderVariables(api_key="VOYAGE_API_KEY"),
}
"""The variables read for each provider.

A base URL may hold several, with commas between, and so may a key. A provider without a variable
for its URL has a service of its own, and is a target for each key.
"""


def _server_arguments(env: _Environment, provider: str, url_variable: str | None) -> dict[str, Any]:
    variables = PROVIDERS[provider]
    timeout = None
    if variables.timeout:
        timeout = env.number(variables.timeout, float, lowest=_SHORTEST)
    if url_variable:
        api_key = variables.api_key and env.text(variables.api_key)
        urls = env.urls(url_variable)
    else:
        api_key = env.required(variables.api_key or "", f"the key of your account at {provider}")
        urls = own_urls(provider, api_key)
    return {
        "urls": urls,
        "provider": provider,
        "api_key": api_key,
        "policy": policy_from_env(env.variables),
        **_limits(env),
        **({} if timeout is None else {"timeout": timeout}),
    }


def _limits(env: _Environment) -> dict[str, Any]:
    limits = {
        "requests_per_minute": env.number("REQUESTS_PER_MINUTE", float, lowest=_SHORTEST),
        "requests_per_day": env.number("DAILY_REQUEST_LIMIT", int, lowest=1),
    }
    return {name: limit for name, limit in limits.items() if limit is not None}


def _probe(env: _Environment) -> ProbePolicy | None:
    times = {
        "interval": env.number("HEALTH_CHECK_INTERVAL", float, lowest=_SHORTEST),
        "timeout": env.number("HEALTH_CHECK_TIMEOUT", float, lowest=_SHORTEST),
    }
    given = {name: seconds for name, seconds in times.items() if seconds is not None}
    try:
        return ProbePolicy.model_validate(given) if given else None
    except ConfigurationError as error:
        message = f"HEALTH_CHECK_INTERVAL and HEALTH_CHECK_TIMEOUT contradict each other: {error}"
        raise ConfigurationError(message) from None


class _Environment:
    """Reads variables; what cannot be read is an error that names the variable."""

    def __init__(self, variables: Mapping[str, str] | None) -> None:
        self.variables = os.environ if variables is None else variables

    def text(self, name: str) -> str | None:
        return self.variables.get(name, "").strip() or None

    def required(self, name: str, meaning: str) -> str:
        value = self.text(name)
        if value is None:
            message = f"{name} is not set; set it to {meaning}"
            raise ConfigurationError(message)
        return value

    def number(self, name: str, kind: type[N], *, lowest: float = -sys.float_info.max) -> N | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            number = kind(value)
        except ValueError:
            message = f"{name} is {value!r}; it must be {_NUMBERS[kind]}"
            raise ConfigurationError(message) from None
        if not lowest <= number <= sys.float_info.max:
            bound = "finite" if lowest < 0 else f"finite, and {lowest:g} or more"
            message = f"{name} is {value!r}; it must be {bound}"
            raise ConfigurationError(message)
        return number

    def urls(self, name: str) -> list[str]:
        meaning = "one URL, or several with commas between"
        urls = split_urls(self.required(name, meaning))
        if not urls:
            message = f"{name} holds no URL; set it to {meaning}"
            raise ConfigurationError(message)
        for url in urls:
            if not url.lower().startswith(("http://", "https://")):
                message = f"{name} has a part that is no http:// or https:// URL; mend it"
                raise ConfigurationError(message)
        return urls

    def provider(self, variable: str) -> str:
        name = (self.text(variable) or "infinity").lower()
        if name not in PROVIDERS:
            message = f"{variable} is {name!r}; known are {', '.join(PROVIDERS)}"
            raise ConfigurationError(message)
        return name
