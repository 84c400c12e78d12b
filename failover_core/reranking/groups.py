"""Which targets' scores may be compared, and how much each of them takes at once."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from failover_core.engine.together import places_of
from failover_core.errors import ConfigurationError
from failover_core.reranking.calibration import Calibration
from failover_core.reranking.protocol import RankRequest, RerankClient
from failover_core.splitting import Limits
from failover_core.targets import Target

Normalize = Literal["sigmoid"] | None
"""What becomes of the scores of targets without a calibration of their own: ``"sigmoid"`` makes
probabilities of logits, None leaves them as they are."""

Calibrations = Mapping[str, Calibration | None]
"""Calibrations by the names of targets; None for one whose scores stay as they are."""


class Group:
    """Targets whose scores mean the same: of one class, one model by name, one calibration.

    Args:
        targets: of the group.
        calibration: of their scores; None leaves them as they are.
        batch_size: documents of one request at the most.

    Attributes:
        calibration: of their scores.
        names: of the targets.
        limits: of one request; learns from what is refused.
        places: requests of one ranking under way.
        has_parts: whether the answers to several requests may be put together. What has only an
            order has no parts, as far as is known; nor has a pool, which may serve each request
            with another model.
        ranks_all: whether each document is in their answers; a framework's reranker may have
            reasons to leave some out.
    """

    def __init__(
        self, targets: Sequence[Target], calibration: Calibration | None, batch_size: int
    ) -> None:
        known = (getattr(target.client, "rerank_limits", None) for target in targets)
        self.calibration = calibration
        self.names = frozenset(str(target.name) for target in targets)
        self.limits = Limits(batch_size, known)
        self.places = sum(map(places_of, targets))
        self.has_parts = not any(hasattr(_child_of(target), "router") for target in targets)
        self.ranks_all = all(isinstance(target.client, RerankClient) for target in targets)

    def pieces(self, request: RankRequest, longest: int) -> list[range]:
        """Return a request's documents in pieces of no more than so many, as targets take them."""
        count = len(request)
        if not self.has_parts:
            return [range(count)]
        if self.limits.have_room_for(count):
            return cut([range(count)], longest)
        pieces, start = [], 0
        while start < count:
            end = self.limits.end_of_request(request.texts, start, beside=request.query)
            pieces.append(range(start, end))
            start = end
        return cut(pieces, longest)


def cut(pieces: Sequence[range], longest: int) -> list[range]:
    """Return pieces of no more than so many documents."""
    return [
        piece[start : start + longest]
        for piece in pieces
        for start in range(0, len(piece), longest)
    ]


class Groups:
    """The targets of a pool, by whose scores may be compared.

    Args:
        targets: of the pool.
        batch_size: documents of one request at the most; None is as many as a target takes.
        normalize: see ``Normalize``.
        calibrations: see ``Calibrations``.

    Raises:
        ConfigurationError: a setting cannot be used, or there is no such target.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        *,
        batch_size: int | None = None,
        normalize: Normalize = None,
        calibrations: Calibrations | None = None,
    ) -> None:
        _check(targets, batch_size, normalize, calibrations or {})
        default = Calibration() if normalize else None
        alike: dict[tuple[Hashable, Calibration | None], list[Target]] = defaultdict(list)
        for target in targets:
            calibration = (calibrations or {}).get(str(target.name), default)
            alike[_scale_of(target), calibration].append(target)
        size = batch_size or sys.maxsize
        groups = [Group(members, how, size) for (_, how), members in alike.items()]
        self._by_name = {name: group for group in groups for name in group.names}

    def of(self, target: Target) -> Group:
        """Return the group of a target."""
        return self._by_name[str(target.name)]

    @property
    def names(self) -> frozenset[str]:
        """The names of all targets."""
        return frozenset(self._by_name)


def _scale_of(target: Target) -> Hashable:
    # A server may apply a sigmoid where another answers with logits, so the name is not enough.
    return (type(_child_of(target)), target.model) if target.model else target.name


def _child_of(target: Target) -> Any:
    return getattr(target.client, "child", target.client)


def _check(
    targets: Sequence[Target], batch_size: Any, normalize: Any, calibrations: Calibrations
) -> None:
    if batch_size is not None and batch_size < 1:
        message = f"batch_size is {batch_size}; it must be 1 or more, or None for no limit"
        raise ConfigurationError(message)
    if normalize not in (None, "sigmoid"):
        message = f"normalize is {normalize!r}; it must be 'sigmoid' or None"
        raise ConfigurationError(message)
    names = [target.name for target in targets]
    for name, calibration in calibrations.items():
        if name not in names:
            known = ", ".join(map(str, names))
            message = f"calibrations: there is no target {name!r}; known: {known}"
            raise ConfigurationError(message)
        if not isinstance(calibration, Calibration | None):
            what = type(calibration).__name__
            message = f"calibrations: that of target {name!r} is {what}; give a Calibration or None"
            raise ConfigurationError(message)
