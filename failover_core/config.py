"""From settings to targets: URLs in a list of targets, and the environment's variables."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, TypeVar

from tenacity import wait_exponential

from failover_core.clients import PROVIDERS as CLIENTS
from failover_core.clients import RerankEndpoint, clients_from_urls, own_urls
from failover_core.errors import ConfigurationError
from failover_core.policy import FailoverPolicy
from failover_core.targets import Target

N = TypeVar("N", int, float)

_SHORTEST = 0.001
"""Seconds below which a timeout in a variable is taken for a mistake."""

_NUMBERS: dict[type, str] = {int: "a whole number", float: "a number"}


def with_url_clients(
    targets: Iterable[Any] | None,
    *,
    model: str | None,
    provider: str,
    api_key: Any,
    **options: Any,
) -> list[Any]:
    """Return the targets with each string replaced by HTTP clients of its URLs.

    Args:
        targets: objects, strings of one URL or several with commas between, and Targets of
            either; a Target's name and limits go over to the client of its URL. None is the
            vendor's own service, once for each key.
        model: that the URLs serve.
        provider: whose protocol they speak, such as ``"infinity"``.
        api_key: one key for all, or a list or comma-separated string paired with the URLs.
        options: for the clients, such as ``timeout``.

    Raises:
        ConfigurationError: a URL or an option cannot be used, or URLs come without a model.
    """
    if targets is None:
        targets = own_urls(provider, api_key)
    targets = [targets] if isinstance(targets, str) else list(targets)
    urls_of = [split_urls(url) if (url := _url_in(target)) else [] for target in targets]
    for place, (target, found) in enumerate(zip(targets, urls_of, strict=True)):
        if _url_in(target) is not None and not found:
            message = f"targets[{place}] is a string without a URL; write http://host:port"
            raise ConfigurationError(message)
    urls = list(chain.from_iterable(urls_of))
    if not urls:
        return targets
    if model is None:
        place = next(index for index, found in enumerate(urls_of) if found)
        message = f"targets[{place}] is a URL; say with model=… what to ask it for"
        raise ConfigurationError(message)
    clients = iter(
        clients_from_urls(urls, provider=provider, model=model, api_key=api_key, **options)
    )
    in_place: list[Any] = []
    for target, found in zip(targets, urls_of, strict=True):
        if isinstance(target, Target) and found:
            in_place += [replace(target, client=client) for client in islice(clients, len(found))]
        else:
            in_place += islice(clients, len(found)) if found else [target]
    return in_place


def _url_in(target: Any) -> str | None:
    """Return the string that a target is, or that a Target holds."""
    given = target.client if isinstance(target, Target) else target
    return given if isinstance(given, str) else None


def split_urls(urls: str | Iterable[str]) -> list[str]:
    """Return the single URLs of strings with commas between; spaces and empty parts fall out."""
    texts = [urls] if isinstance(urls, str) else urls
    return [part.strip() for text in texts for part in text.split(",") if part.strip()]


def embedding_arguments(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the arguments of ``from_urls`` for embeddings, as the environment gives them.

    ``EMBEDDING_PROVIDER`` (default ``infinity``), ``EMBEDDING_MODEL``, ``EMBEDDING_DIMENSION``,
    the provider's own variables (see ``PROVIDERS``) and those of ``policy_from_env``.

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

    The model has no variable of its own: ``from_env(model=…)`` names it.

    Raises:
        ConfigurationError: a variable is missing or cannot be read; the message names it.
    """
    env = _Environment(environ)
    return {
        "urls": env.urls("OPENAI_BASE_URL"),
        "api_key": env.text("OPENAI_API_KEY"),
        "policy": policy_from_env(environ),
    }


def policy_from_env(environ: Mapping[str, str] | None = None) -> FailoverPolicy:
    """Return a policy with what the environment says, and defaults for the rest.

    ``REQUEST_TIMEOUT``: seconds of one attempt. ``MAX_RETRIES_PER_REQUEST``: further sends to
    the same target after the first, 0 included. ``BACKOFF_FACTOR``: seconds of the first
    backoff. ``MAX_CONSECUTIVE_FAILURES``: failures in a row that eject a target.

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
        settings["retry"]["wait"] = wait_exponential(multiplier=factor, max=8)
    if failures is not None:
        settings["breaker"]["consecutive_failures"] = failures
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
        **({} if timeout is None else {"timeout": timeout}),
    }


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
