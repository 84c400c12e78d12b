"""The protocols of the servers that the clients know, as functions of a request."""

from __future__ import annotations

from failover_core.testing.protocols.routes import Service

__all__ = ["Service"]
