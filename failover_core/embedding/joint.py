"""Calls of one text each that are made at the same moment, embedded as one job.

Search engines and agents ask many questions at once, each in a call of its own. A request for each
costs client and server many times what one for all of them does. So the calls that the tasks of an
event loop make in one turn of it go together, as in Facebook's DataLoader; none waits for another
one to come, and each has a vector or an error of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from failover_core.embedding.protocol import Kind
from failover_core.embedding.verification import Vectors
from failover_core.engine.deadline import current_deadline
from failover_core.engine.usage import is_metered
from failover_core.errors import PartialEmbeddingError

Embed = Callable[[list[str], Kind], Awaitable[Vectors]]


@dataclass(slots=True, eq=False)
class _Job:
    """The calls that go together.

    Attributes:
        task: embeds their texts.
        texts: of the calls.
        answers: where each waits for its ``(1, dimension)`` array.
        waiting: calls that have not been given up.
    """

    task: asyncio.Task[None]
    texts: list[str] = field(default_factory=list)
    answers: list[asyncio.Future[Vectors]] = field(default_factory=list)
    waiting: int = 0

    async def answer_to(self, text: str) -> Vectors:
        """Return the vector of one more text."""
        answer = asyncio.get_running_loop().create_future()
        self.texts.append(text)
        self.answers.append(answer)
        self.waiting += 1
        try:
            return await answer  # type: ignore[no-any-return]
        finally:
            self.waiting -= 1

    def answer_with(self, outcomes: Sequence[Vectors | Exception]) -> None:
        """Answer the calls."""
        for answer, outcome in zip(self.answers, outcomes, strict=True):
            if answer.done():  # given up
                continue
            if isinstance(outcome, Exception):
                answer.set_exception(outcome)
            else:  # a copy: whoever keeps one vector is not to keep them all
                answer.set_result(outcome[np.newaxis].copy())

    def cancel(self) -> None:
        """Cancel what is not over: the task, and the calls that wait for it."""
        self.task.cancel()
        for answer in self.answers:
            answer.cancel()


class Joint:
    """Lets calls go together.

    Args:
        embed: embeds any number of texts.
        preferred: names the target that the caller of the moment wants tried first, or None.
        is_wanted: whether calls go together at all: they must not if a client should see whose
            call it serves.
    """

    def __init__(
        self, embed: Embed, preferred: Callable[[], str | None], *, is_wanted: bool
    ) -> None:
        self._embed = embed
        self._preferred = preferred
        self._is_wanted = is_wanted
        self._open: dict[Hashable, _Job] = {}

    def takes(self, texts: Sequence[str]) -> bool:
        """Tell whether a call may go with others: no deadline and no meter is its own."""
        is_fit = self._is_wanted and len(texts) == 1
        return is_fit and current_deadline.get() is None and not is_metered()

    async def embed(self, text: str, kind: Kind) -> Vectors:
        """Return the vector of a text, ``(1, dimension)``."""
        key = (asyncio.get_running_loop(), kind, self._preferred())
        job = self._open.get(key) or self._begin(key, kind)
        try:
            return await job.answer_to(text)
        finally:
            if not job.waiting:
                self._end(key, job)

    def _begin(self, key: Hashable, kind: Kind) -> _Job:
        task = asyncio.create_task(self._carry_out(key, kind), name="failover-joint")
        job = self._open[key] = _Job(task)
        # A task that is cancelled before it starts can do nothing for those who wait.
        task.add_done_callback(lambda _: self._end(key, job))
        return job

    def _end(self, key: Hashable, job: _Job) -> None:
        if self._open.get(key) is job:
            del self._open[key]
        job.cancel()

    async def _carry_out(self, key: Hashable, kind: Kind) -> None:
        await asyncio.sleep(0)  # a loop may start tasks at once, before the first text is there
        job = self._open.pop(key)
        job.answer_with(await self._outcomes(job.texts, kind))

    async def _outcomes(self, texts: list[str], kind: Kind) -> Sequence[Vectors | Exception]:
        try:
            return list(await self._embed(texts, kind))
        except PartialEmbeddingError as error:
            found = {**error.results, **error.errors}
            return [found[index] for index in range(len(texts))]
        except Exception as error:  # noqa: BLE001 - raised by every call
            return [error] * len(texts)
