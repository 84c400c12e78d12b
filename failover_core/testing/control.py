"""The control endpoint, by which another process sets a server's fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from failover_core.errors import ConfigurationError
from failover_core.testing.faults import Fault
from failover_core.testing.faults.transport import strikes_server

CONTROL_PATH = "/_fault"


@dataclass(frozen=True, slots=True)
class Order:
    """The JSON body of a POST to the control endpoint.

    ``{"fault": "status", "code": 503, "path": "/embeddings", "lasting": 2}``: all but ``fault``,
    ``path`` and ``lasting`` are settings of the fault. A ``fault`` of null is health.

    Attributes:
        fault: what to set.
        path: the one path that it strikes; None is the whole server.
        lasting: how many seconds it lasts; None is until the next order.
    """

    fault: Fault | None
    path: str | None = None
    lasting: float | None = None

    @classmethod
    def read(cls, body: Any) -> Self:
        """Read an order; raises ConfigurationError if it makes no sense."""
        if not isinstance(body, dict) or "fault" not in body:
            message = 'control: the body must be JSON like {"fault": "hang"} or {"fault": null}'
            raise ConfigurationError(message)
        settings = dict(body)
        name, path, lasting = (settings.pop(key, None) for key in ("fault", "path", "lasting"))
        fault = None if name is None else Fault.named(name, **settings)
        if fault and strikes_server(fault) and (path is not None or lasting is None):
            message = (
                f"control: {fault.name()} strikes a whole server, so it takes no path, and needs "
                "a time in lasting, as no later order could come through"
            )
            raise ConfigurationError(message)
        return cls(fault, path, lasting)
