"""The kit's own fixtures, imported so that the tests run where nothing is installed too."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from failover_core.testing import FaultServer
from failover_core.testing.fixtures import fake_clock, fault_server, fault_servers

__all__ = ["fake_clock", "fault_server", "fault_servers", "http"]


@pytest.fixture
def http(fault_server: FaultServer) -> Iterator[httpx.Client]:
    """A plain client of the server, which knows nothing of failover."""
    with httpx.Client(base_url=fault_server.url, timeout=5) as client:
        yield client
