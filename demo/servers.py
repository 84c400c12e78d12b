"""Three model servers on this machine, each a process of its own, so that a kill is a kill."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

SMALL, LARGE, RERANKER, CHAT = "small-embedder", "large-embedder", "reranker", "chat"
"""The models. The two embedders have different vector spaces."""

_COMMAND = (sys.executable, "-m", "failover_core.testing", "--latency", "0.03")

_FIRST_PORT, _LAST_PORT = 17_000, 32_000
"""Below the ports of outgoing connections, so that nobody takes the port of a killed server."""


@dataclass(slots=True)
class Server:
    """A server that can be killed, told to misbehave, and started again on the same port."""

    name: str
    port: int
    models: tuple[str, ...]
    state: str = "dead"
    _process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The base URL, the same over all its lives."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process and wait until it accepts connections."""
        models = [word for model in self.models for word in ("--model", model)]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [*_COMMAND, "--port", str(self.port), *models],
            stdout=subprocess.PIPE,
            text=True,
        )
        if not (self._process.stdout and self._process.stdout.readline()):
            message = f"server {self.name} did not start; its own message is above"
            raise RuntimeError(message)
        self.state = "up"

    def kill(self) -> None:
        """Kill the process with SIGKILL: no goodbye to anybody."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self.state = None, "killed"

    def misbehave(self, fault: str, **settings: Any) -> None:
        """Set a fault of the testing kit, by its name."""
        self._order(fault=fault, **settings)
        self.state = fault.replace("_", " ")

    def behave(self) -> None:
        """End the fault."""
        self._order(fault=None)
        self.state = "up"

    def _order(self, **order: Any) -> None:
        httpx.post(f"{self.url}/_fault", json=order).raise_for_status()


class Fleet:
    """The three servers. Alpha and bravo have the same models; charlie has one more."""

    def __init__(self) -> None:
        shared = (SMALL, RERANKER, CHAT)
        ports = _free_ports()
        self.alpha = Server("alpha", next(ports), shared)
        self.bravo = Server("bravo", next(ports), shared)
        self.charlie = Server("charlie", next(ports), (*shared, LARGE))
        self._stack = ExitStack()

    def __iter__(self) -> Iterator[Server]:
        return iter((self.alpha, self.bravo, self.charlie))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self:
                stack.callback(server.kill)
                server.start()
            self._stack = stack.pop_all()  # if one did not start, none stays
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _free_ports() -> Iterator[int]:
    """Yield ports that nobody has, from a place that differs between demos run at once."""
    for port in range(_FIRST_PORT + os.getpid() % 4_000 * 3, _LAST_PORT):
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            yield port
