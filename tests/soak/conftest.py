"""The kit's fixtures."""

from __future__ import annotations

from failover_core.testing.fixtures import fault_servers

__all__ = ["fault_servers"]
