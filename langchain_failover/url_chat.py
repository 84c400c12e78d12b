"""Chat models for servers that speak OpenAI's protocol. Needs the ``openai`` extra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from pydantic import PrivateAttr

from failover_core.clients import ClientSettings, Keys, paired_with_keys
from failover_core.clients.sdk import sdk_clients
from failover_core.errors import ConfigurationError
from failover_core.hints import did_you_mean

try:
    from langchain_openai import ChatOpenAI
except ImportError as error:
    _message = (
        "FailoverChatModel.from_urls needs langchain-openai, which is not installed: "
        'pip install "rag-failover[langchain,openai]"'
    )
    raise ImportError(_message) from error

_NO_KEY = "none"
"""Sent where no key was given: the SDK insists on one, and would send the one of OpenAI that it
finds in the environment to any server."""

_DEFAULTS = {"timeout": 60.0, "max_retries": 0, "stream_usage": True}


class UrlChatModel(ChatOpenAI):
    """A ``ChatOpenAI`` of one URL. A copy or pickle is built anew, and holds no key."""

    _server: ClientSettings = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()

    def __init__(self, server: ClientSettings, options: dict[str, Any]) -> None:
        client, async_client = sdk_clients()
        arguments = {
            **_DEFAULTS,
            "http_client": client,
            "http_async_client": async_client,
            "name": server.base_url.partition("://")[2].partition("/")[0],
            **options,
            "base_url": server.base_url,
            "model": server.model,
            "api_key": server.secret or _NO_KEY,
        }
        super().__init__(**arguments)
        self._server = server
        self._options = options

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return type(self)(self._server, self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        server = self._server.as_given() | self._server.portable_key()
        return _rebuild, (server, self._options)


def chat_models_from_urls(
    urls: str | Sequence[str], *, model: str, api_key: Keys = None, **options: Any
) -> list[UrlChatModel]:
    """Return one chat model per URL, in their order; see ``FailoverChatModel.from_urls``."""
    fields = ChatOpenAI.model_fields
    known = {*fields, *(field.alias for field in fields.values() if field.alias)}
    for name in options.keys() - known:
        hint = did_you_mean(name, known, "see the fields of ChatOpenAI")
        message = f"FailoverChatModel.from_urls: unknown option {name!r}; {hint}"
        raise ConfigurationError(message)
    return [
        UrlChatModel(
            ClientSettings.model_validate({"base_url": url, "model": model, "api_key": key}),
            options,
        )
        for url, key in paired_with_keys(urls, api_key)
    ]


def _rebuild(server: dict[str, Any], options: dict[str, Any]) -> UrlChatModel:
    return UrlChatModel(ClientSettings.model_validate(server), options)
