"""What the demo wants of an application: an index, and four ways to ask it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from demo.corpus import Passage
from demo.servers import Server
from failover_core import BreakerPolicy, FailoverPolicy, Router, Target
from failover_core.clients import InfinityClient

RETRIEVED = 8
"""Passages that retrieval finds."""

RERANKED = 3
"""Passages that the reranker keeps of them, for the prompt."""

POLICY = FailoverPolicy(
    attempt_timeout=1.0,
    breaker=BreakerPolicy(consecutive_failures=2, cooldown=1.0, max_cooldown=2.0),
)
"""More impatient than the default, so that a minute shows what otherwise takes several."""


def client_target(server: Server, model: str) -> Target:
    """Return a server's embedder or reranker as a target that carries the server's name."""
    return Target(InfinityClient(server.url, model=model), name=server.name)


class Door(StrEnum):
    """How a question is asked."""

    SYNC = "sync"
    STREAM = "stream"
    ASYNC = "async"
    ASTREAM = "async stream"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an application says, and the topics of the passages it says it from."""

    text: str
    topics: tuple[str, ...]

    @property
    def problem(self) -> str | None:
        """Why this counts as lost, if it does."""
        if not self.text.strip():
            return "the answer is empty"
        if len(self.topics) != RERANKED:
            return f"{len(self.topics)} passages in place of {RERANKED}"
        return None


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """What an index holds: one vector for each text, and the model that should have made it."""

    model: str
    texts: Sequence[str]
    vectors: NDArray[np.float64]


class App(Protocol):
    """A RAG application.

    Attributes:
        name: of its framework.
        routers: of its failover classes, by the step that each serves.
    """

    name: str
    routers: dict[str, Router]

    def index(self, passages: Sequence[Passage]) -> None:
        """Embed the passages and keep their vectors."""

    def stored(self) -> list[StoredVectors]:
        """Return what its indexes hold."""

    def ask(self, question: str) -> Answer:
        """Answer a question."""

    def stream(self, question: str) -> Answer:
        """Answer a question with a stream."""

    async def aask(self, question: str) -> Answer:
        """Answer a question."""

    async def astream(self, question: str) -> Answer:
        """Answer a question with a stream."""
