"""LLMs for servers that speak OpenAI's chat protocol. Needs the ``openai`` extra."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import httpx
from pydantic import PrivateAttr

from failover_core import ConfigurationError
from failover_core.clients import ClientSettings, paired_with_keys
from failover_core.clients.sdk import sdk_clients
from failover_core.hints import did_you_mean

try:
    from llama_index.llms.openai_like import OpenAILike  # type: ignore[import-untyped]
except ImportError as error:
    message = (
        "FailoverLLM.from_urls needs llama-index-llms-openai-like; "
        'pip install "rag-failover[llamaindex,openai]"'
    )
    raise ImportError(message) from error

_NO_KEY = "none"
"""Sent where no key was given: the SDK insists on one, and would look for one that belongs
to OpenAI in the environment."""


_DEFAULTS = {"is_chat_model": True, "max_retries": 0}

_TELLS_USAGE = {"stream_options": {"include_usage": True}}
"""Makes servers end a stream with its tokens; ``OpenAILike`` leaves it out of other requests."""

_OURS = {"model", "api_base", "api_key", "openai_client", "async_openai_client"}
_OURS |= {"http_client", "async_http_client", "self", "kwargs"}
"""Arguments of ``OpenAILike`` that are not options of ours."""


class UrlLLM(OpenAILike):  # type: ignore[misc]
    """An ``OpenAILike`` that keeps its key to itself: it is in no repr, dump or pickle."""

    default_attempt_timeout: ClassVar[None] = None
    """An attempt is bounded by ``timeout`` alone, unless a policy says more. (A client that has
    this attribute is closed with its router.)"""

    _http_client: httpx.Client = PrivateAttr()
    _async_http_client: httpx.AsyncClient = PrivateAttr()
    _server: ClientSettings = PrivateAttr()
    _options: dict[str, Any] = PrivateAttr()

    def __init__(self, server: ClientSettings, **options: Any) -> None:
        client, async_client = sdk_clients()
        added = _TELLS_USAGE | (options.get("additional_kwargs") or {})
        super().__init__(
            model=server.model,
            api_base=server.base_url,
            api_key=_NO_KEY,
            http_client=client,
            async_http_client=async_client,
            **(_DEFAULTS | options | {"additional_kwargs": added}),
        )
        self._server = server
        self._options = options

    @property
    def name(self) -> str:
        """Host and port, which name the target."""
        return self._server.base_url.partition("://")[2].partition("/")[0]

    def _get_credential_kwargs(self, is_async: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002 - the signature of OpenAI
        credentials = super()._get_credential_kwargs(is_async)
        return {**credentials, "api_key": self._server.secret or _NO_KEY}

    def close(self) -> None:
        """Close the connections of synchronous calls; further ones open new ones."""
        self._http_client.close()
        self._http_client, self._client = sdk_clients()[0], None

    async def aclose(self) -> None:
        """Close those, and the running event loop's."""
        self.close()
        await self._async_http_client.aclose()
        self._async_http_client, self._aclient = sdk_clients()[1], None

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return type(self)(self._server, **self._options)

    def __reduce__(self) -> tuple[Any, ...]:
        server = self._server.as_given() | self._server.portable_key()
        return _rebuild, (server, self._options)


def llms_from_urls(
    urls: str | Sequence[str],
    *,
    model: str,
    api_key: str | Sequence[str] | None = None,
    **options: Any,
) -> list[UrlLLM]:
    """Return one LLM per URL, in their order; see ``FailoverLLM.from_urls``."""
    arguments = inspect.signature(OpenAILike.__init__).parameters
    known = {*OpenAILike.model_fields, *arguments} - _OURS
    for name in options.keys() - known:
        hint = did_you_mean(name, known, "see the fields of OpenAILike")
        message = f"FailoverLLM.from_urls: unknown option {name!r}; {hint}"
        raise ConfigurationError(message)
    return [
        UrlLLM(
            ClientSettings.model_validate({"base_url": url, "model": model, "api_key": key}),
            **options,
        )
        for url, key in paired_with_keys(urls, api_key)
    ]


def _rebuild(server: dict[str, Any], options: dict[str, Any]) -> UrlLLM:
    return UrlLLM(ClientSettings.model_validate(server), **options)
