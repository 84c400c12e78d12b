"""One call: what to do next, and what to remember of it.

A driver asks ``Call.next()`` and obeys: start this attempt, wait, or give up. It reports how
each attempt ended with ``succeeded`` or ``failed``. Nothing here sends, sleeps or awaits, so
the same decisions serve sync, async and streams, and a simulation with a clock of its own.
"""

from __future__ import annotations

from typing import Any, Protocol, Unpack

from failover_core.classify import classify
from failover_core.engine import marks, notices
from failover_core.engine.attempt import Attempt, Failure, GiveUp, Step
from failover_core.engine.deadline import UNLIMITED
from failover_core.engine.needs import NOTHING, CallOptions, Needs
from failover_core.engine.pool import Pool
from failover_core.engine.ports import Clock
from failover_core.engine.route import Route
from failover_core.engine.rules import Mark, Move, Rule, rule_for
from failover_core.errors import AttemptTimeoutError, ErrorClass
from failover_core.events import EventKind


class Call:
    """One call over the targets of a pool, from its first attempt to its answer or its end.

    Attributes:
        deadline: when its total_timeout is over, by the pool's clock.
        is_exhausted: whether it was given up because no target could serve it.
        is_resumable: whether another target may continue its stream if that breaks.
    """

    __slots__ = (
        "_broken",
        "_id",
        "_pool",
        "_route",
        "_verdict",
        "_winner",
        "deadline",
        "is_exhausted",
        "is_resumable",
    )

    def __init__(self, pool: Pool, needs: Needs = NOTHING) -> None:
        total = pool.policy.total_timeout
        self.deadline = UNLIMITED if total is None else pool.clock.now() + total
        if needs.deadline is not None:
            self.deadline = needs.deadline
        self.is_exhausted = False
        self._route = Route(pool, needs, self.deadline)
        self._pool = pool
        self.is_resumable = False
        self._broken: BaseException | None = None
        self._verdict: BaseException | None = None
        self._winner: Attempt | None = None
        self._id: str | None = None

    @property
    def clock(self) -> Clock:
        """The pool's clock."""
        return self._pool.clock

    @property
    def id(self) -> str:
        """Identifies the call in events."""
        if self._id is None:
            self._id = self._pool.next_call_id()
        return self._id

    @property
    def report(self) -> dict[str, Any]:
        """Who served the call and what went before, JSON-ready and without provider text.

        Keys: ``target``, ``model``, ``attempts`` (the successful one included), ``failed_over``
        (whether another target than the first choice served), ``errors`` (``target`` and
        ``error_class`` of each failed attempt, in order).
        """
        winner = self._winner
        return {
            "target": winner.target.name if winner else None,
            "model": winner.target.model if winner else None,
            "attempts": self._route.attempts,
            "failed_over": winner is not None and self._has_failed_over(winner),
            "errors": [
                {"target": failure.attempt.target.name, "error_class": str(failure.error_class)}
                for failure in self._route.failures
            ],
        }

    @property
    def is_over(self) -> bool:
        """Whether it has ended with an error, so that no attempt in flight can serve it."""
        return self._verdict is not None

    @property
    def is_resuming(self) -> bool:
        """Whether a stream broke after its first content and is to go on elsewhere."""
        return self._broken is not None

    def stream(self, *, resumable: bool) -> None:
        """Make this a call for a stream: its attempts are timed to their first content.

        Args:
            resumable: whether another target could continue a stream that breaks; whether it
                may is the policy's business.
        """
        self._route.streaming = True
        self.is_resumable = resumable and self._pool.policy.on_broken_stream == "resume"

    def is_timed(self, attempt: Attempt) -> bool:
        """Return whether any limit holds for the chunks of an attempt's stream."""
        policy = self._pool.policy
        return not (attempt.timeout is policy.idle_timeout is policy.total_timeout is None)

    def silence(self, attempt: Attempt) -> float | None:
        """Return the seconds that the next chunk of an attempt's stream may take.

        Raises:
            AttemptTimeoutError: none are left.
        """
        now = self._pool.clock.now()
        left = self.deadline - now
        if attempt.committed:
            idle = self._pool.policy.idle_timeout or UNLIMITED
            # What cuts a running stream off at the call's deadline is ours: the target may
            # only be thorough, or the caller slow to take its chunks.
            attempt.is_fair = idle <= left
            left = min(left, idle)
        elif attempt.timeout is not None:
            left = min(left, attempt.started_at + attempt.timeout - now)
        if left <= 0:
            message = "the time of the stream is over"
            raise AttemptTimeoutError(message)
        return None if left == UNLIMITED else left

    def next(self) -> Step:
        """Return what to do next."""
        if self._verdict is not None:
            return GiveUp(self._verdict, is_lost=False)
        pool = self._pool
        with pool.lock:
            step = self._route.decide(pool.clock.now())
            if isinstance(step, GiveUp):
                if self._broken is not None:
                    step = GiveUp(self._broken)
                self._verdict = step.error
                self.is_exhausted = step.is_lost
                pool.failed += step.is_lost
        if isinstance(step, GiveUp):
            if step.is_lost:
                pool.publish(notices.exhausted(pool, self._route.failures, self.id))
        elif isinstance(step, Attempt) and (step.number > 1 or step.is_probe):
            if self.is_resuming:
                step.hedge_after = None  # its caller has begun to read: one answer is enough
            for event in notices.departure(pool, step, self._route.failures, self.id):
                pool.publish(event)
        return step

    def hedge(self, attempt: Attempt) -> Attempt | None:
        """Return a second attempt, at another target, beside one that is slow.

        None if there is no other target for it, or no budget; ask only once.
        """
        pool = self._pool
        with pool.lock:
            second = self._route.hedge(pool.clock.now())
        if second is None:
            return None
        event = pool.event(
            EventKind.HEDGED,
            from_target=attempt.target.name,
            to_target=second.target.name,
            reason=f"no answer after {second.started_at - attempt.started_at:.3g} s",
            call_id=self.id,
        )
        pool.publish(event)
        return second

    def abandoned(self, attempt: Attempt) -> None:
        """Record that an attempt was given up because the other one of its hedge was quicker."""
        with self._pool.lock:
            if _settle(attempt):
                marks.abandoned(self._pool, attempt, self._pool.clock.now())

    def used(self, input_tokens: int, output_tokens: int, *, by: Attempt | None = None) -> None:
        """Charge a target for tokens that its answer says it used.

        Of a stream that tells of them bit by bit, each bit is charged.

        Args:
            input_tokens: so many.
            output_tokens: so many.
            by: attempt that gave the answer, whether that serves the call or not. Default: the
                one that serves it.
        """
        attempt = by or self._winner
        if attempt is not None:
            with self._pool.lock:
                self._charge(attempt, input_tokens, output_tokens)

    def degraded(self) -> None:
        """Record that its caller gets a substitute for the answer that no target gave."""
        pool = self._pool
        with pool.lock:
            pool.degraded += 1
        pool.publish(notices.degraded(pool, self.id))

    def commit(self, attempt: Attempt) -> None:
        """Note that content of a stream goes out to the caller: the call cannot move on."""
        attempt.committed = True
        attempt.latency = self._pool.clock.now() - attempt.started_at
        self._winner = attempt

    def succeeded(self, attempt: Attempt) -> None:
        """Record that an attempt answered."""
        pool = self._pool
        with pool.lock:
            if not _settle(attempt):
                return
            now = pool.clock.now()
            if attempt.latency is None:
                attempt.latency = now - attempt.started_at
            self._winner = attempt
            pool.succeeded += 1
            pool.failed_over += self._has_failed_over(attempt)
            events = marks.succeeded(pool, attempt, now)
        for event in events:
            pool.publish(event)

    def failed(self, attempt: Attempt, error: BaseException) -> None:
        """Record that an attempt ended with an error, a cancellation included."""
        pool = self._pool
        found = classify(error, wall=pool.clock.wall())
        rule = rule_for(found.error_class, pool.policy)
        is_neutral = found.error_class is ErrorClass.NEUTRAL
        if self.is_resuming and not is_neutral:
            rule = Rule(rule.mark, Move.NEXT)  # its words would not be about the caller's request
        may_resume = self.is_resumable and rule.move is not Move.RAISE
        failure = Failure(attempt, error, found, rule)
        with pool.lock:
            if not _settle(attempt):
                return
            now = pool.clock.now()
            self._route.add(failure)
            if failure.mark is not Mark.NONE and found.error_class is not ErrorClass.TIMEOUT:
                # Nothing was generated. (Of a timeout nobody knows: it stays charged.)
                self._charge(attempt, 0, 0)
            if attempt.committed and may_resume:
                self._broken = self._broken or error
            elif attempt.committed or rule.move is Move.RAISE:
                self._verdict = error if is_neutral else self._broken or error
                pool.failed += rule.mark is not Mark.NONE
            news = () if is_neutral else (notices.failure(pool, failure, now, self.id),)
            events = [*news, *marks.failed(pool, failure, now)]
        if not is_neutral:
            failure.write_note()
        for event in events:
            pool.publish(event)
        pool.wake(attempt.state)

    def _charge(self, attempt: Attempt, input_tokens: int, output_tokens: int) -> None:
        expected = 0 if attempt.is_charged else self._route.needs.tokens
        attempt.is_charged = True
        marks.charged(self._pool, attempt, expected, input_tokens, output_tokens)

    def _has_failed_over(self, winner: Attempt) -> bool:
        return winner.state is not self._route.first_choice


def _settle(attempt: Attempt) -> bool:
    """Take an attempt's permit back; False if that has been done before."""
    if attempt.settled:
        return False
    attempt.settled = True
    attempt.state.in_flight = max(0, attempt.state.in_flight - 1)
    return True


class Begin(Protocol):
    """What begins a call, as ``Router.begin`` does."""

    def __call__(self, **options: Unpack[CallOptions]) -> Call:
        """Begin a call."""
        ...
