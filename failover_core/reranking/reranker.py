"""Reranking over a pool of targets: the same shape of answer, whichever target gives it."""

from __future__ import annotations

import math
from contextlib import closing
from functools import partial
from itertools import islice
from typing import Literal

from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Begin, Call
from failover_core.engine.drivers import arun, run
from failover_core.engine.together import atogether, together
from failover_core.errors import ConfigurationError
from failover_core.reranking.groups import Groups
from failover_core.reranking.job import Job, Task
from failover_core.reranking.protocol import RankRequest, by_order
from failover_core.reranking.ranking import Part, Ranking, merged

OnExhausted = Literal["raise", "passthrough"]
"""What becomes of documents that no target could rank: ``"raise"`` the error, or answer with them
in the order they came in, cut to ``top_n`` and marked as ``degraded``."""


class Reranker:
    """Ranks documents with whichever target can.

    More documents than a target takes in one request are ranked piece by piece, by targets whose
    scores may be compared: the ranking is the same as that of the whole. A request that is
    refused for its size is halved.

    Args:
        begin: begins a call.
        groups: of the targets.
        top_n: documents to keep at the most, from every target alike; None keeps all.
        score_threshold: lowest score to keep, after ``Groups`` has normalised it; None keeps all.
            An order without scores, and documents that nobody ranked, are kept whole.
        on_exhausted: see ``OnExhausted``.
        spread: whether pieces go to several targets at once; else one after the other, in the
            order of the strategy.

    Raises:
        ConfigurationError: ``top_n`` is below 1, the threshold is not finite, or ``on_exhausted``
            is unknown.
    """

    def __init__(
        self,
        begin: Begin,
        groups: Groups,
        *,
        top_n: int | None = None,
        score_threshold: float | None = None,
        on_exhausted: OnExhausted = "raise",
        spread: bool = True,
    ) -> None:
        if top_n is not None and top_n < 1:
            message = f"top_n is {top_n}; it must be 1 or more, or None for all documents"
            raise ConfigurationError(message)
        if score_threshold is not None and not math.isfinite(score_threshold):
            message = f"score_threshold is {score_threshold}; it must be finite, or None"
            raise ConfigurationError(message)
        if on_exhausted not in (known := OnExhausted.__args__):  # type: ignore[attr-defined]
            message = f"on_exhausted is {on_exhausted!r}; it must be one of {', '.join(known)}"
            raise ConfigurationError(message)
        self._begin = begin
        self._groups = groups
        self._top_n = top_n
        self._score_threshold = score_threshold
        self._on_exhausted = on_exhausted
        self._spread = spread

    def rerank(self, request: RankRequest) -> Ranking:
        """Rank documents; without any, nothing is sent.

        Raises:
            AllTargetsFailedError: no target could rank them, and ``on_exhausted`` is ``"raise"``.
            Exception: a target's own error, when it is about the request.
        """
        if not len(request):
            return Ranking([], {})
        job = self._job(request)
        while not job.is_over:
            self._serve(job, request, at_most=1)
            together(partial(self._serve, job, request), job.places)
        return self._ranking(job, request)

    async def arerank(self, request: RankRequest) -> Ranking:
        """Rank as ``rerank`` does. A cancelled one sends nothing further."""
        if not len(request):
            return Ranking([], {})
        job = self._job(request)
        while not job.is_over:
            await self._aserve(job, request, at_most=1)
            await atogether(partial(self._aserve, job, request), job.places)
        return self._ranking(job, request)

    def _job(self, request: RankRequest) -> Job:
        return Job(request, self._groups, top_n=self._top_n, spread=self._spread)

    def _serve(self, job: Job, request: RankRequest, at_most: int | None = None) -> None:
        """Work off what there is, or so much of it."""
        for task in islice(iter(job.take, None), at_most):
            call = self._begin(**job.options(task))
            try:
                part = run(call, partial(self._send, job, request, task))
            except BaseException as error:
                job.failed(task, call, error)
                if not isinstance(error, Exception):
                    raise
            else:
                _keep(job, task, call, part)

    async def _aserve(self, job: Job, request: RankRequest, at_most: int | None = None) -> None:
        """Do what ``_serve`` does."""
        for task in islice(iter(job.take, None), at_most):
            call = self._begin(**job.options(task))
            try:
                part = await arun(call, partial(self._asend, job, request, task))
            except BaseException as error:
                job.failed(task, call, error)
                if not isinstance(error, Exception):
                    raise
            else:
                _keep(job, task, call, part)

    def _send(self, job: Job, request: RankRequest, task: Task, attempt: Attempt) -> Part:
        with closing(job.exchange(task, attempt)) as exchange:
            piece = next(exchange)
            while True:
                try:
                    piece = exchange.send(request.ask(attempt.client, piece))
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]

    async def _asend(self, job: Job, request: RankRequest, task: Task, attempt: Attempt) -> Part:
        with closing(job.exchange(task, attempt)) as exchange:
            piece = next(exchange)
            while True:
                try:
                    piece = exchange.send(await request.aask(attempt.client, piece))
                except StopIteration as end:
                    return end.value  # type: ignore[no-any-return]

    def _ranking(self, job: Job, request: RankRequest) -> Ranking:
        if job.error is None:
            job.learn()
            return merged(job.parts, job.report(), top_n=self._top_n, lowest=self._score_threshold)
        if job.lost_call is None or self._on_exhausted == "raise":
            raise job.error
        job.lost_call.degraded()
        nobody = {"target": None, "model": None, "failed_over": False}
        report = {**job.report(), **nobody, "degraded": True, "scored": False}
        return Ranking(by_order(range(len(request))[: self._top_n]), report)


def _keep(job: Job, task: Task, call: Call, part: Part) -> None:
    if part.tokens:
        call.used(part.tokens, 0)
    job.keep(task, call, part)
