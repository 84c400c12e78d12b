"""The protocol of Infinity servers (michaelfeil/infinity)."""

from __future__ import annotations

from failover_core.clients.descriptions import RequestLimits
from failover_core.clients.dialogue import Post
from failover_core.clients.openai_compatible import OpenAICompatibleClient


class InfinityClient(OpenAICompatibleClient):
    """A client of an Infinity server.

    It speaks OpenAI's protocol without the ``/v1``: ``base_url`` ends in it only if the server
    was started with ``--url-prefix /v1``.
    """

    limits = RequestLimits(items=2048)
    rerank_limits = RequestLimits(items=2048)
    health = Post("/health")
