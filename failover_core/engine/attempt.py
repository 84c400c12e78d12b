"""One send of a call, how it failed, and the steps a driver obeys."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from failover_core.classify import Classification
from failover_core.engine.breaker import State
from failover_core.engine.rules import Mark, Rule
from failover_core.engine.target_state import TargetState
from failover_core.errors import ErrorClass
from failover_core.targets import Target


class Attempt:
    """One send of a call to one target, with its permit.

    Attributes:
        number: 1 for the first send of the call.
        timeout: seconds it may take (a stream: until its first content), or None.
        is_fair: whether that time was long enough to blame the target for a timeout.
        streaming: whether it ends for the engine with the first content of a stream.
        hedge_after: seconds after which ``Call.hedge`` may send the call elsewhere too, or None.
        committed: whether content of its stream has reached the caller.
        is_charged: whether what it used was charged, instead of what it was expected to use.
    """

    __slots__ = (
        "committed",
        "generation",
        "hedge_after",
        "is_charged",
        "is_fair",
        "is_probe",
        "latency",
        "number",
        "settled",
        "started_at",
        "state",
        "streaming",
        "timeout",
    )

    def __init__(self, state: TargetState, number: int, now: float, *, streaming: bool) -> None:
        self.state = state
        self.number = number
        self.streaming = streaming
        self.hedge_after: float | None = None
        self.started_at = now
        self.timeout: float | None = None
        self.is_fair = True
        self.is_charged = False
        self.settled = False
        self.committed = False
        self.latency: float | None = None
        self.generation = state.breaker.admit(now, state.lease)
        self.is_probe = state.breaker.state is State.HALF_OPEN and self.generation >= 0

    @property
    def target(self) -> Target:
        """The target it goes to."""
        return self.state.target

    @property
    def client(self) -> Any:
        """The target's client."""
        return self.state.target.client


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this many seconds pass, then ask again."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise this error to the caller."""

    error: BaseException
    is_lost: bool = True
    """Whether a request that some target should have served was not; else it is to blame."""


Step = Attempt | Wait | GiveUp


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed, and what follows."""

    attempt: Attempt
    error: BaseException
    found: Classification
    rule: Rule

    @property
    def error_class(self) -> ErrorClass:
        """The class of the error."""
        return self.found.error_class

    @property
    def mark(self) -> Mark:
        """What it leaves on the target; a timeout in a thin slice of ours leaves nothing."""
        is_ours = self.error_class is ErrorClass.TIMEOUT and not self.attempt.is_fair
        return Mark.NONE if is_ours else self.rule.mark

    def __str__(self) -> str:
        return f"{self.attempt.target.name}: {self.error_class} ({self.found.summary})"

    def write_note(self) -> None:
        """Name target, attempt and class on the error, for whoever reads its traceback."""
        name, number = self.attempt.target.name, self.attempt.number
        note = f"target {name!r}, attempt {number}: {self.error_class}"
        with contextlib.suppress(Exception):  # a frozen error takes no notes
            # A client may raise one error object again and again: its notes must not grow.
            if note not in getattr(self.error, "__notes__", ()):
                self.error.add_note(note)
