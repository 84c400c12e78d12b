"""Whether the targets of a pool embed into one vector space.

The canary is embedded beside the texts of a request, so its vector comes from the very server,
process and model that embedded the texts, and no request is sent for it alone but where a request
is full, and where the first query comes after passages, or the other way round: whose vector
becomes the reference of one kind has first to match that of the other. It goes along whenever a
target may have changed: before its first answer, after each failure, after a connection to its
server was opened, and once a second however busy it is.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from failover_core.embedding.protocol import Kind
from failover_core.embedding.rows import Rows, rows_of
from failover_core.embedding.space import EmbeddingSpace, distance
from failover_core.engine.attempt import Attempt
from failover_core.errors import ConfigurationError, MalformedResponseError, SpaceMismatchError

Vectors = NDArray[np.float32]

Verify = Literal["canary", "always", "declared", "off"]
"""How targets are verified: ``"canary"`` whenever one may have changed, ``"always"`` with every
request (for URLs behind which several servers take turns), ``"declared"`` by dimension and the
names of the models alone, ``"off"`` by dimension alone."""

TOLERANCE = 0.001
"""Largest ``distance`` of one space. Replicas of one model in float16 are within 0.0005 of it in
float32; quantised to 8 bits they want 0.02."""

_TRUSTED = 1.0
"""Seconds after which a target is verified again: another model may be served there by then."""

_TRUSTED_ONE_BY_ONE = 60.0
"""The same for objects that embed queries one by one, where a canary takes a request of its own."""


@dataclass
class Verification:
    """Compares what the targets of a pool answer with one reference.

    Args:
        space: that vectors must belong to. What it leaves open, the first answer decides.
        verify: when the canary is embedded; see ``Verify``.
        tolerance: largest ``distance`` from the reference.

    Raises:
        ConfigurationError: a setting is out of range.
    """

    space: EmbeddingSpace
    verify: Verify = "canary"
    tolerance: float = TOLERANCE

    _verified: dict[tuple[str | None, Kind], tuple[float, int]] = field(default_factory=dict)
    _answered: dict[tuple[str | None, Kind], float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        known = Verify.__args__  # type: ignore[attr-defined]
        if self.verify not in known:
            message = f"verify is {self.verify!r}; it must be one of {', '.join(known)}"
            raise ConfigurationError(message)
        if not 0 < self.tolerance < 1:
            message = f"tolerance is {self.tolerance}; it must be between 0 and 1"
            raise ConfigurationError(message)

    def is_due(self, attempt: Attempt, kind: Kind) -> bool:
        """Return whether the canary is to be embedded beside the texts of an attempt.

        Of the requests that a target is busy with, one a second verifies it, and each that needs
        a connection of its own; after a silence, in which another server may have taken its
        place, every one does.
        """
        if self.verify != "canary":
            return self.verify == "always"
        key = attempt.target.name, kind
        verified = self._verified.get(key)
        if verified is None or attempt.is_probe:
            return True
        at, connections = verified
        one_by_one = kind is Kind.QUERY and getattr(attempt.client, "embeds_one_by_one", False)
        recent = attempt.started_at - (_TRUSTED_ONE_BY_ONE if one_by_one else _TRUSTED)
        if at >= recent:
            open_now = connections_of(attempt.client)
            return connections != open_now or 0 < open_now < attempt.state.in_flight
        if self._answered.get(key, at) >= recent:
            self._verified[key] = attempt.started_at, connections
        return True

    @property
    def embeds_canaries(self) -> bool:
        """Whether a canary goes along with any request."""
        return self.verify in ("canary", "always")

    def has_reference(self, kind: Kind) -> bool:
        """Return whether it is settled what the canary of a kind is to be embedded to."""
        return not self.embeds_canaries or kind in self.space.fingerprint

    def unknown_kinds(self) -> list[Kind]:
        """Return the kinds of texts of which the canary's vector is still to be found out."""
        return [kind for kind in Kind if not self.has_reference(kind)]

    def failed(self, attempt: Attempt) -> None:
        """Take note that an attempt failed: its target may come back as another one."""
        for kind in Kind:
            self._verified.pop((attempt.target.name, kind), None)

    def answered(self, attempt: Attempt, kind: Kind, now: float) -> None:
        """Take note that a target answered."""
        self._answered[attempt.target.name, kind] = now

    def verified(self, attempt: Attempt, kind: Kind, now: float, connections: int) -> None:
        """Take note that a target was of the pool's space.

        Args:
            attempt: to which it answered.
            kind: of the canary that it embedded.
            now: the time.
            connections: see ``connections_of``; from before it was asked.
        """
        self._verified[attempt.target.name, kind] = now, connections
        self.answered(attempt, kind, now)

    def check(self, attempt: Attempt, kind: Kind, canary: Vectors | list[float]) -> None:
        """Compare a target's vector of the canary with the reference; the first one becomes it.

        Raises:
            SpaceMismatchError: the target embeds into another space.
        """
        canary = np.array(canary, np.float32)
        with self._lock:
            reference = self.space.fingerprint.get(kind)
            if reference is None:
                attempt.state.is_reference = True
                known = {**self.space.fingerprint, kind: canary}
                self.space = EmbeddingSpace(
                    self.space.model or attempt.target.model, len(canary), known
                )
                return
        found = distance(canary, reference)
        if not found <= self.tolerance:
            message = (
                f"it embeds the canary {found:.3g} away from the pool's {kind} vectors, "
                f"{self.tolerance:g} is allowed: another model, prefix or normalisation"
            )
            raise SpaceMismatchError(message)

    def checked(self, answer: Any, texts: Sequence[str]) -> Rows:
        """Return an answer, if it is one vector per text, of the pool's dimension.

        Raises:
            MalformedResponseError: it is not, or it is nothing but zeros.
            SpaceMismatchError: its vectors have another dimension than those of the pool.
        """
        vectors = rows_of(answer, len(texts))
        if not any(map(np.any, vectors)) and any(map(str.strip, texts)):
            message = "the vectors are all zero"
            raise MalformedResponseError(message)
        dimension = len(vectors[0])
        with self._lock:
            known = self.space.dimension
            if known is None:
                self.space = EmbeddingSpace(self.space.model, dimension, self.space.fingerprint)
        if known not in (None, dimension):
            message = (
                f"vectors of dimension {dimension} in a pool of dimension {known}: "
                "this target serves another model"
            )
            raise SpaceMismatchError(message)
        return vectors


def connections_of(client: Any) -> int:
    """Return how many connections have led to a server; at the end of a new one may be another."""
    return getattr(client, "connections", 0)
