"""Servers that cost next to nothing, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.processes import served

NUMBER = 8
"""Digits that a text begins with."""

Counts = NDArray[np.uint8]


def texts(count: int, tail: str = " a text of some length, as passages are" * 4) -> list[str]:
    """Return texts that each begin with a number, from 0 on."""
    return [f"{number:0{NUMBER}d}{tail}" for number in range(count)]


def strangers(vectors: NDArray[np.float32]) -> int:
    """Return how many vectors are not those of ``texts`` in their order."""
    return int((vectors[:, 0] != np.arange(len(vectors), dtype=np.float32)).sum())


@dataclass
class Server:
    """A server in a process of its own.

    Attributes:
        url: where it listens.
        process: it.
        counts: of each text, how often it was received, and how often it was answered.
    """

    url: str
    process: subprocess.Popen[str]
    counts: Counts

    def throttle(self) -> None:
        """Let it refuse requests for its ``rest``."""
        self.process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Let it die (SIGKILL) in the middle of the next request."""
        self.process.send_signal(signal.SIGUSR2)


@contextmanager
def server(
    *, service: float = 0.0, dimension: int = 1024, rest: int = 1, counted: int = 0
) -> Iterator[Server]:
    """Run a server.

    Args:
        service: seconds that each request takes.
        dimension: of the vectors.
        rest: seconds that a throttled server refuses requests for.
        counted: texts, from number 0 on, whose requests and answers are counted.
    """
    with tempfile.TemporaryDirectory() as folder:
        counts = np.memmap(Path(folder, "counts"), np.uint8, "w+", shape=(2, counted or 1))
        settings = {"service": service, "dimension": dimension, "rest": rest, "counts": folder}
        given = [f"--{name}={value}" for name, value in settings.items()]
        with served("benchmarks.servers", *given) as (url, process):
            yield Server(url, process, counts)
