"""Reranking over a pool of targets: the same shape of answer, whichever target gives it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from failover_core.engine.call import Call
from failover_core.engine.drivers import arun, run
from failover_core.errors import ConfigurationError, MalformedResponseError
from failover_core.reranking.protocol import RankedDocument


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to one reranking.

    Attributes:
        ranked: the documents that remain, best first.
        report: who served, as ``Call.report`` tells it; empty if there was nothing to rank.
    """

    ranked: list[RankedDocument]
    report: dict[str, Any]


class Reranker:
    """Ranks documents with whichever target can.

    Args:
        begin: begins a call.
        top_n: documents to keep at the most, from every target alike; None keeps all.
        score_threshold: lowest score to keep, on the model's own scale; None keeps all.

    Raises:
        ConfigurationError: ``top_n`` is below 1, or the threshold is not finite.
    """

    def __init__(
        self,
        begin: Callable[[], Call],
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
    ) -> None:
        if top_n is not None and top_n < 1:
            message = f"top_n is {top_n}; it must be 1 or more, or None for all documents"
            raise ConfigurationError(message)
        if score_threshold is not None and not math.isfinite(score_threshold):
            message = f"score_threshold is {score_threshold}; it must be finite, or None"
            raise ConfigurationError(message)
        self._begin = begin
        self._top_n = top_n
        self._score_threshold = score_threshold

    def rerank(self, count: int, ask: Callable[[Any], Sequence[RankedDocument]]) -> Ranking:
        """Rank ``count`` documents; without any, nothing is sent.

        Args:
            count: number of documents.
            ask: sends them to the client it is given; returns their indices and scores.

        Raises:
            AllTargetsFailedError: no target could rank them.
        """
        if not count:
            return Ranking([], {})
        call = self._begin()
        ranked = run(call, lambda attempt: self._checked(ask(attempt.client), count))
        return Ranking(ranked, call.report)

    async def arerank(
        self, count: int, ask: Callable[[Any], Awaitable[Sequence[RankedDocument]]]
    ) -> Ranking:
        """Rank as ``rerank`` does."""
        if not count:
            return Ranking([], {})

        async def send(attempt: Any) -> list[RankedDocument]:
            return self._checked(await ask(attempt.client), count)

        call = self._begin()
        ranked = await arun(call, send)
        return Ranking(ranked, call.report)

    def _checked(self, answer: Sequence[RankedDocument], count: int) -> list[RankedDocument]:
        """Return what remains of an answer, best first; raise if it cannot be about ``count``."""
        if len({document.index for document in answer}) != len(answer):
            message = "the reranker ranked a document twice"
            raise MalformedResponseError(message)
        for document in answer:
            if not 0 <= document.index < count:
                message = f"the reranker ranked document {document.index} of {count}"
                raise MalformedResponseError(message)
            if not math.isfinite(document.score):
                message = f"the score of document {document.index} is not finite"
                raise MalformedResponseError(message)
        best_first = sorted(answer, key=lambda document: -document.score)[: self._top_n]
        lowest = -math.inf if self._score_threshold is None else self._score_threshold
        return [document for document in best_first if document.score >= lowest]
