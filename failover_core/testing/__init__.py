"""Servers that fail on demand, a clock that never waits, clients that follow a script.

For tests of this library and of applications that use it.
"""

from __future__ import annotations

import failover_core  # noqa: F401 - all of it, even if another thread is still importing it
from failover_core.testing import faults
from failover_core.testing.clock import FakeClock
from failover_core.testing.faults import Fault
from failover_core.testing.framing import Request
from failover_core.testing.scripted import ScriptedCall, ScriptedClient
from failover_core.testing.server import FaultServer

__all__ = [
    "FakeClock",
    "Fault",
    "FaultServer",
    "Request",
    "ScriptedCall",
    "ScriptedClient",
    "faults",
]
