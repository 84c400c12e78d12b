"""Servers for the tests of probes."""

from __future__ import annotations

from failover_core.testing.fixtures import fault_server, fault_servers

__all__ = ["fault_server", "fault_servers"]
