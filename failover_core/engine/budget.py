"""What a pool may send beyond one attempt per target and call."""

from __future__ import annotations

from failover_core.engine.deadline import UNLIMITED

_SAVED = 10.0
"""Extra sends that can be saved up, and that a new pool begins with (as in gRPC's A6)."""


_WHOLE = 1.0 - 1e-9
"""One, but for what adding fifths loses."""


class Budget:
    """A bucket of extra sends: answers fill it, each extra send takes one out.

    In a good hour it never matters; in an outage it keeps the extra load to ``share`` of the
    load that is answered, whatever the settings of the retries.

    Args:
        share: extra sends earned at a time; None for no limit.
    """

    __slots__ = ("_saved", "_share")

    def __init__(self, share: float | None) -> None:
        self._share = 0.0 if share is None else share
        self._saved = UNLIMITED if share is None else _SAVED if share else 0.0

    @property
    def allows(self) -> bool:
        """Whether there is an extra send in it."""
        return self._saved >= _WHOLE

    def earn(self) -> None:
        """Fill it by one share."""
        if self._saved < _SAVED:
            self._saved = min(_SAVED, self._saved + self._share)

    def spend(self) -> None:
        """Take an extra send out."""
        self._saved -= 1.0
