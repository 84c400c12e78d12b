"""The circuit breaker of one target: closed, open, half open.

It has two detectors (failures in a row; share of failures in a sliding window) and hands out
permits with a generation number, as sony/gobreaker does: a result whose generation has passed
changes nothing. It holds no lock; its pool does.
"""

from __future__ import annotations

from enum import StrEnum

from failover_core.engine.backoff import ejection_time
from failover_core.engine.ports import Dice
from failover_core.engine.window import Window
from failover_core.policy import BreakerPolicy

_FORGIVING = 10.0
"""Healthy seconds that take one off the count of ejections (Envoy's outlier detection)."""

_LEAST_SHARE = 0.1
"""Share of its calls that a target gets at once when it returns."""

_ALWAYS = float("-inf")
_NO_GENERATION = -1


class State(StrEnum):
    """What a breaker lets through: everything, nothing, or one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Decides when a target is ejected and when it may come back.

    Attributes:
        ready_at: instant from which the next call is admitted; long past while closed.
        generation: changes whenever older results stop to count.
        returning: whether the target has returned a short time ago; see ``share``.
    """

    __slots__ = (
        "_calls",
        "_closed_at",
        "_dice",
        "_ejections",
        "_failures",
        "_policy",
        "_probe_successes",
        "failures_in_a_row",
        "generation",
        "ready_at",
        "returning",
        "state",
    )

    def __init__(self, policy: BreakerPolicy, dice: Dice, now: float) -> None:
        self._policy = policy
        self._dice = dice
        self._ejections = 0
        self._calls = Window(policy.window)
        self._failures = Window(policy.window)
        self.returning = False
        self.generation = 0
        self.state = State.CLOSED
        self.ready_at = _ALWAYS
        self._probe_successes = 0
        self._close(now)

    def admit(self, now: float, lease: float) -> int:
        """Return the generation of a new permit.

        On an ejected target whose cooldown is over, the permit is a probe's: no other call is
        admitted until it is answered or ``lease`` seconds have passed. A permit asked for before
        ``ready_at`` is a last resort: during the cooldown its success counts and its failure
        does not; beside a probe neither does.
        """
        if self.state is State.CLOSED:
            return self.generation
        if self.ready_at <= now:
            if self.state is State.OPEN:
                self.state = State.HALF_OPEN
                self.generation += 1
            # After an expired lease the late probe's answer is as good as the new one's. If it
            # were void, a target whose streams outlast the lease would never come back.
            self.ready_at = now + lease
            return self.generation
        return self.generation if self.state is State.OPEN else _NO_GENERATION

    def success(self, generation: int, now: float) -> bool:
        """Count a success; return whether it closed the breaker."""
        if generation != self.generation:
            return False
        if self.state is State.CLOSED:
            self.failures_in_a_row = 0
            self._calls.add(now)
            if self.returning and now - self._closed_at >= self._policy.slow_start:
                self.returning = False
            return False
        self.generation += 1
        self._probe_successes += 1
        if self._probe_successes < self._policy.successes_to_close:
            self.state = State.HALF_OPEN
            self.ready_at = now
            return False
        self._close(now)
        self.returning = self._policy.slow_start > 0
        return True

    def share(self, now: float) -> float:
        """Return the share of its calls that a returning target should get, from 0.1 to 1.

        It grows as in Envoy's slow start. A server that was away has cold caches, and a fleet
        of clients would come back to it all at once.
        """
        return max(_LEAST_SHARE, (now - self._closed_at) / self._policy.slow_start)

    def failure(self, generation: int, now: float) -> bool:
        """Count a failure; return whether it ejected the target."""
        if generation != self.generation or self.state is State.OPEN:
            return False
        self.failures_in_a_row += 1
        if self.state is State.CLOSED:
            self._calls.add(now)
            self._failures.add(now)
            if not self._has_failed_enough(now):
                return False
        self._open(now)
        return True

    def eject(self, generation: int, now: float) -> bool:
        """Open at once and for long, as after a refused key; return whether that was news."""
        if generation != self.generation:
            return False
        news = self.state is not State.OPEN
        self._open(now, cooldown=self._policy.max_cooldown)
        return news

    def release(self, generation: int, now: float) -> None:
        """Give a permit back that was neither success nor failure."""
        if generation == self.generation and self.state is State.HALF_OPEN:
            self.generation += 1
            self.ready_at = now

    def end_cooldown(self, now: float) -> bool:
        """Let the next call probe the target; return whether it would have had to wait."""
        if self.state is not State.OPEN or self.ready_at <= now:
            return False
        self.ready_at = now
        return True

    def reset(self, now: float) -> None:
        """Close and forget; results of calls in flight will not count."""
        self._ejections = 0
        self._close(now)

    def _close(self, now: float) -> None:
        self.state = State.CLOSED
        self.generation += 1
        self.ready_at = _ALWAYS
        self.failures_in_a_row = 0
        self._probe_successes = 0
        self._closed_at = now
        self.returning = False
        self._calls = Window(self._policy.window)
        self._failures = Window(self._policy.window)

    def _open(self, now: float, cooldown: float | None = None) -> None:
        if self.state is State.CLOSED:
            forgiven = int((now - self._closed_at) / _FORGIVING)
            self._ejections = max(0, self._ejections - forgiven)
        self._ejections += 1
        self.state = State.OPEN
        self.generation += 1
        self._probe_successes = 0
        self.ready_at = now + (cooldown or ejection_time(self._policy, self._ejections, self._dice))

    def _has_failed_enough(self, now: float) -> bool:
        policy = self._policy
        if self.failures_in_a_row >= policy.consecutive_failures:
            return True
        calls, failures = self._calls.total(now), self._failures.total(now)
        return calls >= policy.minimum_calls and failures >= policy.failure_ratio * calls
