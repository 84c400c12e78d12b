"""What a server says while it loads its model."""

from __future__ import annotations

import pytest

from failover_core import ResponseStatusError
from failover_core.classify import classify
from failover_core.clients import InfinityClient
from failover_core.testing import FaultServer, faults


def test_our_own_client_hears_that_a_server_is_loading(fault_server: FaultServer) -> None:
    fault_server.fault = faults.Status(503, body={"error": "Model bge-m3 is currently loading"})
    client = InfinityClient(fault_server.url, model="m")
    with pytest.raises(ResponseStatusError) as caught:
        client.rerank("a", ["b"], None)
    assert caught.value.is_loading
    assert classify(caught.value, wall=0.0).is_loading
