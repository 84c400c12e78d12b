"""The scenarios of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from failover_core.testing import FaultServer
from failover_core.testing.faults import Fault

CATALOGUE = Path(__file__).with_name("catalogue.yaml")

Faults = str | Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Scenario:
    """Two servers, what is wrong with them, and what must come of it; see the catalogue."""

    id: str
    title: str
    path: Literal["/embeddings", "/rerank"]
    requests: int
    first: Faults = None
    second: Faults = None
    calls: int = 3
    texts: int = 4
    poison: str | None = None
    sees: Literal["answer", "named", "safe"] = "answer"

    @contextmanager
    def servers(self) -> Iterator[list[FaultServer]]:
        """Run the two servers, and behind them a healthy one that knows what is right."""
        with ExitStack() as stack:
            servers = [stack.enter_context(FaultServer()) for _ in range(3)]
            for server, faults in zip(servers, (self.first, self.second), strict=False):
                _set(server, faults, self.path)
            yield servers

    def texts_of(self, call: int) -> list[str]:
        """Return the texts, or documents, of a call: other ones in every call."""
        texts = [f"call {call}: ship number {number} left port" for number in range(self.texts)]
        return [*texts, f"call {call}: a pinch of {self.poison}"] if self.poison else texts

    def seen_by(self, server: FaultServer) -> int:
        """Return the requests that a server saw."""
        return sum(request.path.endswith(self.path) for request in server.requests)


def load() -> list[Scenario]:
    """Return all scenarios of the catalogue."""
    document: dict[str, list[dict[str, Any]]] = yaml.safe_load(CATALOGUE.read_text())
    paths: dict[str, Any] = {"embeddings": "/embeddings", "rerank": "/rerank"}
    return [
        Scenario(path=paths[kind], **given) for kind, found in document.items() for given in found
    ]


def _set(server: FaultServer, faults: Faults, path: str) -> None:
    if isinstance(faults, str):
        fault = Fault.parse(faults)
        server.fault = fault
    elif faults:
        server.script([None if one == "-" else Fault.parse(one) for one in faults])
        for prefix in ("", "/v1"):
            server.set_fault(None, path=f"{prefix}{path}")
