"""All that is known of one target."""

from __future__ import annotations

from math import isinf

from failover_core.engine.breaker import Breaker
from failover_core.engine.deadline import UNLIMITED
from failover_core.engine.ewma import PeakEwma
from failover_core.engine.limits import Limits
from failover_core.engine.stats import TargetStats
from failover_core.engine.workers import Workers
from failover_core.errors import ErrorClass
from failover_core.policy import FailoverPolicy
from failover_core.targets import Target

_LEASE_MARGIN = 1.0
_LEASE_UNBOUNDED = 60.0
"""Seconds after which a probe without any timeout is taken for lost."""

# Seconds between two looks for a free permit.
_POLL_LONGEST = 0.1
_POLL_SHORTEST = 0.001
_POLL_UNKNOWN = 0.01

_REFUSALS = (ErrorClass.AUTH, ErrorClass.QUOTA)


class TargetState:
    """One target's breaker, throttle, limits, switch and counts.

    Attributes:
        timeout_cap: seconds that an attempt may take, the call's deadline aside.
        resting_until: instant until which it asked to be left alone: throttled, or warming up.
        warming_since: instant at which it first said that it is not ready yet.
        must_wake: whether its ``wake`` is still to be called for that.
        lease: seconds after which a probe's permit returns by itself.
        ejected_for: class of the error that last ejected it.
        probed_at: instant of its last active probe.
        is_checking: whether an active probe is under way.
        is_reference: whether the pool's vector space is what it answered first.
    """

    __slots__ = (
        "breaker",
        "cost",
        "disabled",
        "ejected_for",
        "in_flight",
        "is_checking",
        "is_reference",
        "keeps_deadline",
        "lease",
        "limits",
        "max_in_flight",
        "must_wake",
        "probed_at",
        "resting_until",
        "slot",
        "stats",
        "target",
        "throttles_in_a_row",
        "timeout_cap",
        "warming_since",
        "workers",
    )

    def __init__(self, slot: int, target: Target, policy: FailoverPolicy, breaker: Breaker) -> None:
        client = target.client
        caps = (
            target.attempt_timeout,
            policy.attempt_timeout,
            getattr(client, "default_attempt_timeout", None),
        )
        self.slot = slot
        self.target = target
        self.breaker = breaker
        self.timeout_cap: float = next((cap for cap in caps if cap is not None), UNLIMITED)
        self.keeps_deadline: bool = getattr(client, "enforces_deadline", False) is True
        bounded = _LEASE_UNBOUNDED if isinf(self.timeout_cap) else self.timeout_cap + _LEASE_MARGIN
        self.lease: float = policy.breaker.lease or bounded
        self.max_in_flight: float = target.max_concurrency or UNLIMITED
        self.limits: Limits | None = None
        self.stats = TargetStats()
        self.cost = PeakEwma()
        self.workers = Workers()
        self.disabled = False
        self.ejected_for: ErrorClass | None = None
        self.probed_at: float | None = None
        self.warming_since: float | None = None
        self.must_wake = False
        self.is_checking = False
        self.is_reference = False
        self.resting_until = 0.0
        self.throttles_in_a_row = 0
        self.in_flight = 0

    def reset(self, now: float) -> None:
        """Forget health and counts, but neither limits nor attempts in flight."""
        self.breaker.reset(now)
        self.stats = TargetStats()
        self.cost = PeakEwma()
        self.resting_until = 0.0
        self.throttles_in_a_row = 0

    @property
    def is_overloaded(self) -> bool:
        """Whether it was ejected for answering that it has too much to do, or the like.

        A target that is down, silent or refuses a key would not do better for more of its
        siblings being out of service.
        """
        return self.ejected_for is ErrorClass.SERVER_ERROR

    @property
    def may_be_probed_back(self) -> bool:
        """Whether a health check can tell that what ejected it is over; no key is part of one."""
        return self.ejected_for not in _REFUSALS

    def is_ready(self, now: float) -> bool:
        """Return whether the target is a first choice."""
        return self.resting_until <= now and self.breaker.ready_at <= now

    @property
    def ready_at(self) -> float:
        """Instant from which the target is a first choice again."""
        return max(self.resting_until, self.breaker.ready_at)

    @property
    def is_full(self) -> bool:
        """Whether all permits of ``max_concurrency`` are out."""
        return self.in_flight >= self.max_in_flight

    def room_at(self, now: float, tokens: int) -> float:
        """Return the instant from which the target's limits let a send of so many tokens pass.

        When all permits are out that is a guess: the mean time until one of them comes back.
        """
        if self.is_full:
            mean = (self.cost.value or _POLL_UNKNOWN) / self.max_in_flight
            return now + min(_POLL_LONGEST, max(_POLL_SHORTEST, mean))
        return now if self.limits is None else self.limits.room_at(now, tokens)
