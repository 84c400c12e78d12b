"""One reranking under way: what is still to be asked, and what has come back. Sends nothing."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from failover_core.classify import classify
from failover_core.engine.attempt import Attempt
from failover_core.engine.call import Call
from failover_core.engine.needs import CallOptions
from failover_core.engine.usage import metered
from failover_core.errors import AllTargetsFailedError, ErrorClass
from failover_core.reranking.groups import Group, Groups, cut
from failover_core.reranking.protocol import RankedDocument, RankRequest
from failover_core.reranking.ranking import Part, checked, joint_report


@dataclass(slots=True, eq=False)
class Task:
    """What one call is to do.

    Attributes:
        is_opening: whether any target may serve it; its group then ranks the other pieces too.
        group: that is to rank the piece; of an opening, that of the last attempt.
        piece: to rank; of an opening, that of the last attempt.
        start: which one of the reranking, which may have to start anew.
    """

    is_opening: bool
    start: int
    group: Group | None = None
    piece: range = range(0)


class Job:
    """One reranking, worked off by any number of threads or tasks.

    Its first piece goes to whichever target can rank it, and the others to that target and those
    whose scores may be compared with its own. If none of these can rank one of them, what they
    have ranked is of no use, and another target ranks everything.

    Args:
        request: documents to rank.
        groups: of the targets.
        top_n: documents wanted; None is all.
        spread: whether the targets of a group rank pieces at the same time.

    Attributes:
        error: why it ended without a ranking.
        lost_call: the one that no target could serve, if it ended so.
    """

    def __init__(
        self, request: RankRequest, groups: Groups, *, top_n: int | None, spread: bool
    ) -> None:
        self.error: BaseException | None = None
        self.lost_call: Call | None = None
        self._request = request
        self._groups = groups
        self._top_n = top_n
        self._spread = spread
        self._lock = threading.Lock()
        self._start = 0
        self._is_opening = False
        self._group: Group | None = None
        self._to_do: deque[range] = deque()
        self._served: list[tuple[Part, Call]] = []
        self._calls: list[Call] = []
        self._longest: dict[Group, int] = {}
        self._left: frozenset[str] = frozenset()
        self._errors: list[BaseException] = []

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        return self.error is not None or not (self._group is None or self._to_do)

    @property
    def places(self) -> int:
        """The calls that are to be under way."""
        at_most = self._group.places if self._group and self._spread else 1
        return min(at_most, len(self._to_do))

    @property
    def parts(self) -> list[Part]:
        """What targets have made of the pieces."""
        return [part for part, _ in self._served]

    def take(self) -> Task | None:
        """Return what to do next; None if there is nothing, or nothing yet."""
        with self._lock:
            if self.error is not None:
                return None
            if self._to_do:
                return Task(
                    is_opening=False,
                    start=self._start,
                    group=self._group,
                    piece=self._to_do.popleft(),
                )
            if self._group is not None or self._is_opening:
                return None
            self._is_opening = True
            return Task(is_opening=True, start=self._start)

    def options(self, task: Task) -> CallOptions:
        """Return the options of a task's call."""
        options = CallOptions()
        if self._calls:
            options["deadline"] = self._calls[0].deadline
        if task.group is not None:
            options["among"] = task.group.names
            options["spread"] = self._spread
        elif self._left:
            options["among"] = self._groups.names - self._left
        return options

    def exchange(self, task: Task, attempt: Attempt) -> Generator[range, Any, Part]:
        """Yield what an attempt's target is to rank, and be sent its answers; return the last."""
        group, pieces = self._groups.of(attempt.target), [task.piece]
        if task.is_opening:
            pieces = self._pieces(group)
            task.group, task.piece = group, pieces[0]
        with metered() as usage:
            ranked = self._checked(group, (yield pieces[0]), len(pieces[0]))
            if len(pieces) > 1 and not all(document.is_scored for document in ranked):
                group.has_parts = False  # of two orders nobody can make one
                pieces = self._pieces(group)
                ranked = self._checked(group, (yield pieces[0]), len(pieces[0]))
        name = str(attempt.target.name)
        return Part(group, name, pieces, pieces[0], ranked, usage.tokens)

    def keep(self, task: Task, call: Call, part: Part) -> None:
        """Take what a target has made of a piece."""
        with self._lock:
            self._calls.append(call)
            if task.start != self._start:
                return  # it is of no interest any more
            if task.is_opening:
                self._is_opening = False
                self._group = part.group
                self._to_do.extend(part.pieces[1:])
            elif not all(document.is_scored for document in part.ranked):
                part.group.has_parts = False
                self._start_anew()
                return
            self._served.append((part, call))

    def failed(self, task: Task, call: Call, error: BaseException) -> None:
        """Take note of why a piece was not ranked: make it smaller, go elsewhere, or stop."""
        with self._lock:
            self._calls.append(call)
            self._is_opening = self._is_opening and not task.is_opening
            if task.start != self._start:
                return
            group = task.group
            if group and group.has_parts and len(task.piece) > 1 and _is_too_large(error):
                self._halve(task, group)
            elif call.is_exhausted and self._group and self._others():
                self._leave(self._group, error)
            else:
                self.error = self.error or _joint_error([*self._errors, error])
                self.lost_call = call if call.is_exhausted else None

    def report(self) -> dict[str, Any]:
        """Return who ranked the documents, and what went before."""
        report = joint_report(self._calls, [call for _, call in self._served])
        return {**report, "failed_over": report["failed_over"] or bool(self._left)}

    def learn(self) -> None:
        """Take note for later of how much at once was not too large."""
        if self._group in self._longest:
            self._group.limits.learn(self._longest[self._group])

    def _pieces(self, group: Group) -> list[range]:
        return group.pieces(self._request, self._longest.get(group, len(self._request)))

    def _checked(self, group: Group, answer: Any, count: int) -> Sequence[RankedDocument]:
        wanted = min(self._top_n or count, count) if group.ranks_all else 0
        return checked(answer, count, at_least=wanted)

    def _halve(self, task: Task, group: Group) -> None:
        longest = min(len(task.piece) // 2, self._longest.get(group, len(self._request)))
        self._longest[group] = longest
        if not task.is_opening:
            self._to_do = deque(cut([task.piece, *self._to_do], longest))

    def _others(self) -> frozenset[str]:
        return self._groups.names - self._left - (self._group.names if self._group else self._left)

    def _leave(self, group: Group, error: BaseException) -> None:
        self._left |= group.names
        self._errors.append(error)
        self._start_anew()

    def _start_anew(self) -> None:
        self._start += 1
        self._group = None
        self._to_do.clear()
        self._served.clear()


def _is_too_large(error: BaseException) -> bool:
    errors = error.exceptions if isinstance(error, AllTargetsFailedError) else (error,)
    classes = (classify(each, wall=0.0).error_class for each in errors)
    return ErrorClass.INPUT_TOO_LARGE in classes


def _joint_error(errors: Sequence[BaseException]) -> BaseException:
    """Return the error of several calls that no target could serve, one after the other."""
    groups = [error for error in errors if isinstance(error, AllTargetsFailedError)]
    if len(groups) < 2 or len(groups) < len(errors):  # noqa: PLR2004 - one is nothing to join
        return errors[-1]
    classes = {group.error_class for group in groups}
    return AllTargetsFailedError(
        "; then ".join(group.message for group in groups),
        [error for group in groups for error in group.exceptions],
        error_class=classes.pop() if len(classes) == 1 else None,
    )
