"""Targets out of URLs: the clients of servers, and the limits that each of them is to keep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from failover_core.clients import clients_from_urls, own_urls
from failover_core.errors import ConfigurationError
from failover_core.targets import Target

_LIMITS = ("max_concurrency", "requests_per_minute", "requests_per_day", "tokens_per_minute")


def limited(build: Callable[..., Sequence[Any]], urls: Any, **options: Any) -> Sequence[Any]:
    """Return what is built of URLs, with the limits of a ``Target`` that are among the options.

    Args:
        build: returns a client for each URL.
        urls: for it.
        options: for it, but for ``max_concurrency``, ``requests_per_minute``,
            ``requests_per_day`` and ``tokens_per_minute``, which hold for each target.

    Raises:
        ConfigurationError: a limit is out of range.
    """
    limits = {name: options.pop(name) for name in _LIMITS if name in options}
    built = build(urls, **options)
    return [_with(limits, one) for one in built] if limits else built


def _with(limits: dict[str, Any], one: Any) -> Target:
    return replace(one, **limits) if isinstance(one, Target) else Target(one, **limits)


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
