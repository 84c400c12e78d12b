"""HTTP clients for embedding and rerank servers, one file per wire protocol."""

from __future__ import annotations

import failover_core  # noqa: F401 - all of it, even if another thread is still importing it
from failover_core.clients.base import HttpClient
from failover_core.clients.cohere import CohereClient
from failover_core.clients.descriptions import Description, RequestLimits
from failover_core.clients.endpoints import EmbeddingEndpoint, HealthEndpoint, RerankEndpoint
from failover_core.clients.infinity import InfinityClient
from failover_core.clients.jina import JinaClient
from failover_core.clients.ollama import OllamaClient
from failover_core.clients.openai_compatible import OpenAICompatibleClient
from failover_core.clients.registry import (
    PROVIDERS,
    Keys,
    clients_from_urls,
    own_urls,
    paired_with_keys,
)
from failover_core.clients.settings import ClientOptions, ClientSettings
from failover_core.clients.tei import TEIClient
from failover_core.clients.voyage import VoyageClient
from failover_core.engine.usage import Usage, metered

__all__ = [
    "PROVIDERS",
    "ClientOptions",
    "ClientSettings",
    "CohereClient",
    "Description",
    "EmbeddingEndpoint",
    "HealthEndpoint",
    "HttpClient",
    "InfinityClient",
    "JinaClient",
    "Keys",
    "OllamaClient",
    "OpenAICompatibleClient",
    "RequestLimits",
    "RerankEndpoint",
    "TEIClient",
    "Usage",
    "VoyageClient",
    "clients_from_urls",
    "metered",
    "own_urls",
    "paired_with_keys",
]
