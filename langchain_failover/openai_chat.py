"""Chat models for URLs that speak OpenAI's protocol, over langchain-openai."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel

from failover_core.clients import ClientSettings, paired_with_keys

_NO_KEY = "none"
_DEFAULTS = {"timeout": 60.0, "max_retries": 0, "stream_usage": True}


def chat_models_from_urls(
    urls: str | Sequence[str], *, model: str, api_key: Any, **options: Any
) -> list[BaseChatModel]:
    """Return one ``ChatOpenAI`` per URL, named by host and port.

    Raises:
        ImportError: langchain-openai is not installed.
        ConfigurationError: a URL or a key cannot be used.
    """
    try:
        from langchain_openai import ChatOpenAI  # noqa: PLC0415 - of an extra
    except ImportError as error:
        message = (
            "chat models from URLs need langchain-openai, which is not installed: "
            'pip install "rag-failover[langchain,openai]"'
        )
        raise ImportError(message) from error
    models: list[BaseChatModel] = []
    for url, key in paired_with_keys(urls, api_key):
        settings = ClientSettings.model_validate(
            {"base_url": url, "model": model, "api_key": key}
        )
        # Without a key, ChatOpenAI would send the one of the environment to any server.
        arguments = {
            "base_url": settings.base_url,
            "model": settings.model,
            "api_key": settings.secret or _NO_KEY,
            "name": settings.base_url.partition("://")[2].partition("/")[0],
        }
        models.append(ChatOpenAI(**{**_DEFAULTS, **options, **arguments}))
    return models
