"""What counts as lost, and whether answers and vectors are right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import numpy as np

from demo.app import Answer, StoredVectors
from demo.questions import Question
from failover_core.clients import InfinityClient
from failover_core.embedding import Kind

_RIGHT_SHARE = 0.75
"""Share of answers that must come from the right topic. Retrieval is good, not perfect."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one question: ``text`` is its answer, or why there is none."""

    app: str
    question: Question
    text: str
    is_lost: bool
    is_right: bool

    @classmethod
    def of(cls, app: str, question: Question, outcome: Answer | BaseException) -> Self:
        """Judge an answer, or the error in its place."""
        if isinstance(outcome, BaseException):
            text = f"{type(outcome).__name__}: {outcome}"
            return cls(app, question, text, is_lost=True, is_right=False)
        if problem := outcome.problem:
            return cls(app, question, problem, is_lost=True, is_right=False)
        is_right = question.topic in outcome.topics
        return cls(app, question, outcome.text, is_lost=False, is_right=is_right)


@dataclass(slots=True)
class Score:
    """All results so far, and what was found wrong with the vectors."""

    results: list[Result] = field(default_factory=list)
    wrong_vectors: int = 0

    @property
    def lost(self) -> int:
        """Questions without a proper answer."""
        return sum(result.is_lost for result in self.results)

    @property
    def right(self) -> int:
        """Questions answered from the topic that has the answer."""
        return sum(result.is_right for result in self.results)

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, no vector is wrong, and most answers are right."""
        is_right = self.right >= _RIGHT_SHARE * len(self.results)
        return is_right and not self.lost and not self.wrong_vectors


def wrong_vectors(stored: StoredVectors, url: str) -> int:
    """Return how many stored vectors differ from those that the server at ``url`` computes."""
    with InfinityClient(url, model=stored.model) as client:
        expected = client.embed(stored.texts, Kind.PASSAGE)
    if stored.vectors.shape != expected.shape:
        return len(stored.texts)
    return int(np.sum((stored.vectors != expected).any(axis=1)))
