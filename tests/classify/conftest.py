"""A server for the errors of this folder's tests."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from failover_core.testing import FaultServer


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running
    # Some SDKs leave their connections to the collector: their warnings belong to this module.
    gc.collect()
