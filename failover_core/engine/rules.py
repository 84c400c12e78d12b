"""What each class of error means: the mark on the target, and where the call goes next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from failover_core.errors import ErrorClass
from failover_core.policy import FailoverPolicy


class Mark(Enum):
    """What an error leaves on its target."""

    NONE = auto()
    FAILURE = auto()
    THROTTLE = auto()
    EJECT = auto()


class Move(Enum):
    """Where the call goes after an error."""

    NEXT = auto()
    LARGER = auto()
    """Only to targets that declare a larger context window."""
    RAISE = auto()


@dataclass(frozen=True, slots=True)
class Rule:
    """The consequences of one class of error."""

    mark: Mark
    move: Move
    again: bool = False
    """Whether another send to the same target could end better."""


_TRANSIENT = Rule(Mark.FAILURE, Move.NEXT, again=True)
_OURS_TO_RAISE = Rule(Mark.NONE, Move.RAISE)

_RULES = {
    ErrorClass.CONNECTION: _TRANSIENT,
    ErrorClass.TIMEOUT: _TRANSIENT,
    ErrorClass.SERVER_ERROR: _TRANSIENT,
    ErrorClass.MALFORMED: _TRANSIENT,
    ErrorClass.THROTTLED: Rule(Mark.THROTTLE, Move.NEXT, again=True),
    ErrorClass.QUOTA: Rule(Mark.EJECT, Move.NEXT),
    ErrorClass.AUTH: Rule(Mark.EJECT, Move.NEXT),
    ErrorClass.MODEL_NOT_FOUND: _TRANSIENT,  # also what a server says while it loads its model
    ErrorClass.INVALID_REQUEST: _OURS_TO_RAISE,
    ErrorClass.INPUT_TOO_LARGE: Rule(Mark.NONE, Move.LARGER),
    ErrorClass.CONTENT_SAFETY: _OURS_TO_RAISE,
    ErrorClass.SPACE_MISMATCH: Rule(Mark.EJECT, Move.NEXT),
    ErrorClass.UNSUPPORTED: Rule(Mark.NONE, Move.NEXT),
    ErrorClass.UNKNOWN: _TRANSIENT,
    ErrorClass.NEUTRAL: _OURS_TO_RAISE,
}


def rule_for(error_class: ErrorClass, policy: FailoverPolicy) -> Rule:
    """Return the rule for a class of error under a policy."""
    if error_class is ErrorClass.UNKNOWN and policy.on_unknown == "raise":
        return _OURS_TO_RAISE
    if error_class is ErrorClass.CONTENT_SAFETY and policy.on_content_safety == "failover":
        return Rule(Mark.NONE, Move.NEXT)
    return _RULES[error_class]
