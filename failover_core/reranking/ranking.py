"""The answer to one reranking, put together from the pieces that targets have ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from failover_core.engine.call import Call
from failover_core.errors import MalformedResponseError
from failover_core.reranking.groups import Group
from failover_core.reranking.protocol import RankedDocument


@dataclass(frozen=True, slots=True)
class Ranking:
    """The answer to one reranking.

    Attributes:
        ranked: the documents that remain, best first.
        report: who served, as ``Call.report`` tells it of all requests together, and
            ``degraded`` (whether nobody did, so that the documents are in the order they came
            in) and ``scored`` (whether there are scores, or only an order). Empty if there was
            nothing to rank.
        targets: the target that ranked each document, by index, if that were several.
    """

    ranked: list[RankedDocument]
    report: dict[str, Any]
    targets: Mapping[int, str] = field(default_factory=dict)

    @property
    def is_degraded(self) -> bool:
        """Whether nobody ranked the documents."""
        return bool(self.report.get("degraded"))

    def report_on(self, document: RankedDocument) -> dict[str, Any]:
        """Return the report, with the target that ranked a document."""
        target = self.targets.get(document.index, self.report["target"])
        return {**self.report, "target": target}


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What a target made of a piece.

    Attributes:
        group: of the target.
        target: its name.
        pieces: into which the whole is cut for its group.
        piece: the one that it ranked.
        ranked: the documents, counted from the first of the piece.
        tokens: that the answer says it used.
    """

    group: Group
    target: str
    pieces: Sequence[range]
    piece: range
    ranked: Sequence[RankedDocument]
    tokens: int


def merged(
    parts: Sequence[Part], report: dict[str, Any], *, top_n: int | None, lowest: float | None
) -> Ranking:
    """Return the ranking of all pieces, which targets of one group have ranked.

    Args:
        parts: what became of the pieces.
        report: who served.
        top_n: documents to keep at the most; None keeps all.
        lowest: score to keep, after the calibration; None keeps all.
    """
    calibrated = parts[0].group.calibration
    is_scored = all(document.is_scored for part in parts for document in part.ranked)
    places = [(part, document) for part in parts for document in part.ranked]
    if is_scored:
        # By the scores as they came: those of a calibration may round to the same.
        places.sort(key=lambda place: (-place[1].score, place[0].piece.start + place[1].index))
    ranked, targets = [], {}
    for part, document in places[:top_n]:
        score = calibrated(document.score) if calibrated and is_scored else document.score
        if lowest is not None and is_scored and score < lowest:
            break
        index = part.piece.start + document.index
        is_same = index == document.index and score == document.score
        ranked.append(document if is_same else replace(document, index=index, score=score))
        targets[index] = part.target
    report = {**report, "degraded": False, "scored": is_scored}
    return Ranking(ranked, report, targets if len(parts) > 1 else {})


def joint_report(calls: Sequence[Call], served: Sequence[Call]) -> dict[str, Any]:
    """Return the report of several calls for one answer.

    Args:
        calls: all of them, in the order in which they ended.
        served: those whose answers count; the first one names target and model.
    """
    reports = [call.report for call in calls]
    return {
        **(served or calls)[0].report,
        "attempts": sum(report["attempts"] for report in reports),
        "failed_over": any(report["failed_over"] for report in reports),
        "errors": [error for report in reports for error in report["errors"]],
    }


def checked(
    answer: Sequence[RankedDocument], count: int, *, at_least: int
) -> Sequence[RankedDocument]:
    """Return an answer if it can be about so many documents.

    Raises:
        MalformedResponseError: it is not.
    """
    message = None
    if len({document.index for document in answer}) != len(answer):
        message = "the reranker ranked a document twice"
    elif len(answer) < at_least:
        message = f"the reranker ranked {len(answer)} of {at_least} documents"
    for document in answer:
        if not 0 <= document.index < count:
            message = f"the reranker ranked document {document.index} of {count}"
        elif not math.isfinite(document.score):
            message = f"the score of document {document.index} is not finite"
    if message:
        raise MalformedResponseError(message)
    return answer
