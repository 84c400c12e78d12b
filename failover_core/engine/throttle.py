"""Holding calls back while nobody serves them."""

from __future__ import annotations

from failover_core.engine.ports import Dice
from failover_core.engine.window import Window

_SECONDS = 120.0
_MULTIPLE = 2.0
_MOST = 0.9
"""Share of the calls that is refused at the most: the others find out when all is well again."""


class AdaptiveThrottle:
    """Client-side throttling as in "Site Reliability Engineering", chapter 21.

    It refuses as many calls as it takes for twice what is answered to be sent.
    """

    __slots__ = ("_answers", "_sends")

    def __init__(self) -> None:
        self._sends = Window(_SECONDS)
        self._answers = Window(_SECONDS)

    def refuses(self, now: float, dice: Dice) -> bool:
        """Return whether a send had better be left out now; a refusal counts as a send."""
        sends = self._sends.total(now)
        share = (sends - _MULTIPLE * self._answers.total(now)) / (sends + 1)
        if dice.uniform(0.0, 1.0) >= min(share, _MOST):
            return False
        self._sends.add(now)
        return True

    def sent(self, now: float) -> None:
        """Count a send."""
        self._sends.add(now)

    def answered(self, now: float) -> None:
        """Count an answer."""
        self._answers.add(now)
