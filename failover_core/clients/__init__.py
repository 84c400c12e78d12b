"""HTTP clients for embedding and rerank servers, one file per wire protocol."""

from __future__ import annotations

from failover_core.clients.base import HttpClient
from failover_core.clients.infinity import InfinityClient
from failover_core.clients.openai_compatible import OpenAICompatibleClient
from failover_core.clients.registry import PROVIDERS, clients_from_urls, paired_with_keys
from failover_core.clients.settings import ClientOptions, ClientSettings

__all__ = [
    "PROVIDERS",
    "ClientOptions",
    "ClientSettings",
    "HttpClient",
    "InfinityClient",
    "OpenAICompatibleClient",
    "clients_from_urls",
    "paired_with_keys",
]
