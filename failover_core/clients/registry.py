"""The known wire protocols, and clients for a list of URLs."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from itertools import chain, repeat
from typing import Unpack

from pydantic import SecretStr

from failover_core.clients.base import HttpClient
from failover_core.clients.cohere import CohereClient
from failover_core.clients.infinity import InfinityClient
from failover_core.clients.jina import JinaClient
from failover_core.clients.ollama import OllamaClient
from failover_core.clients.openai_compatible import OpenAICompatibleClient
from failover_core.clients.settings import ClientOptions
from failover_core.clients.tei import TEIClient
from failover_core.clients.voyage import VoyageClient
from failover_core.errors import ConfigurationError

PROVIDERS: dict[str, type[HttpClient]] = {
    "infinity": InfinityClient,
    "openai": OpenAICompatibleClient,
    "tei": TEIClient,
    "cohere": CohereClient,
    "jina": JinaClient,
    "voyage": VoyageClient,
    "ollama": OllamaClient,
}
"""Client class of each wire protocol."""

Keys = str | SecretStr | Sequence[str | SecretStr | None] | None


def clients_from_urls(
    urls: str | Sequence[str] | None = None,
    *,
    model: str,
    provider: str = "infinity",
    api_key: Keys = None,
    **options: Unpack[ClientOptions],
) -> list[HttpClient]:
    """Return one client per URL, in their order.

    Args:
        urls: a list, or one text with commas; spaces and trailing commas are forgiven. None is
            the vendor's own service, once for each key.
        model: name of the model, the same on every server.
        provider: a key of ``PROVIDERS``.
        api_key: one key, or several as a list or a text with commas: the first for the first
            URL, and so on, the last one also for the rest. An empty one in between means none.
        **options: see ``ClientSettings``.

    Raises:
        ConfigurationError: no URL, an unknown provider, more keys than URLs, or a setting that
            cannot be used.
    """
    client = _client_class(provider)
    clients = []
    urls = own_urls(provider, api_key) if urls is None else urls
    for place, (url, key) in enumerate(paired_with_keys(urls, api_key)):
        try:
            clients.append(client(url, model=model, api_key=key, **options))
        except ConfigurationError as error:
            # Named by its place: what is no URL may be a key that got there by mistake.
            message = f"urls[{place}]: {error}"
            raise ConfigurationError(message) from None
    return clients


def own_urls(provider: str, api_key: Keys = None) -> list[str]:
    """Return the URL of a vendor's own service, once for each key.

    Raises:
        ConfigurationError: the provider is unknown, or everybody runs a server of his own.
    """
    client = _client_class(provider)
    if client.default_url is None:
        message = f"urls: are missing; {client.__name__} has no server of its own"
        raise ConfigurationError(message)
    return [client.default_url] * len(_split_keys(api_key))


def paired_with_keys(
    urls: str | Sequence[str], api_key: Keys = None
) -> list[tuple[str, str | SecretStr | None]]:
    """Return each URL with its key; see ``clients_from_urls``.

    Raises:
        ConfigurationError: no URL, or more keys than URLs.
    """
    listed = [url for url in map(str.strip, _split(urls)) if url]
    if not listed:
        message = "urls: is empty; name at least one server"
        raise ConfigurationError(message)
    keys = _split_keys(api_key)
    if len(keys) > len(listed):
        message = f"api_key: {len(keys)} keys for {len(listed)} URLs; leave out the surplus"
        raise ConfigurationError(message)
    return list(zip(listed, chain(keys, repeat(keys[-1])), strict=False))


def _client_class(provider: str) -> type[HttpClient]:
    if found := PROVIDERS.get(provider.strip().lower()):
        return found
    near = difflib.get_close_matches(provider.lower(), PROVIDERS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    message = f"provider: {provider!r} is unknown; {hint}known: {', '.join(sorted(PROVIDERS))}"
    raise ConfigurationError(message)


def _split(urls: str | Sequence[str]) -> list[str]:
    return [url for text in ([urls] if isinstance(urls, str) else urls) for url in text.split(",")]


def _split_keys(given: Keys) -> list[str | SecretStr | None]:
    text = given.get_secret_value() if isinstance(given, SecretStr) else given
    if text is None:
        return [None]
    if not isinstance(text, str):
        return list(text) or [None]
    return [key.strip() for key in text.strip().rstrip(",").split(",")]
