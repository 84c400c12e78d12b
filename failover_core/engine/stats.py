"""What is counted of a target, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from failover_core.engine.samples import Samples, percentile

if TYPE_CHECKING:
    from failover_core.classify import Classification

_LATENCIES = 64
"""Newest latencies that the percentiles are taken from."""

_MINUTE = 60.0


@dataclass(slots=True)
class TargetStats:
    """Counts and times of one target; times are instants of the clock, latencies seconds."""

    requests: int = 0
    successes: int = 0
    failures: int = 0
    throttled: int = 0
    successes_in_a_row: int = 0
    failures_in_a_row: int = 0
    last_success: float | None = None
    last_failure: float | None = None
    last_error: str | None = None
    tokens: int = 0
    spend: float = 0.0
    latencies: Samples = field(default_factory=lambda: Samples(_LATENCIES))
    _minute: int = 0
    _this_minute: int = 0
    _last_minute: int = 0

    def started(self, now: float) -> None:
        """Count an attempt."""
        self.requests += 1
        if now >= (self._minute + 1) * _MINUTE:
            minute = int(now // _MINUTE)
            self._last_minute = self._this_minute if minute == self._minute + 1 else 0
            self._minute, self._this_minute = minute, 0
        self._this_minute += 1

    def succeeded(self, now: float, latency: float) -> None:
        """Count an answer."""
        self.successes += 1
        self.successes_in_a_row += 1
        self.failures_in_a_row = 0
        self.last_success = now
        self.latencies.add(latency)

    def failed(self, now: float, found: Classification, *, is_throttle: bool) -> None:
        """Count a failure, or a throttling, which is none."""
        if is_throttle:
            self.throttled += 1
        else:
            self.failures += 1
            self.failures_in_a_row += 1
        self.successes_in_a_row = 0
        self.last_failure = now
        self.last_error = found.summary

    def requests_per_minute(self, now: float) -> float:
        """Return the attempts of the last 60 s, those of the past minute taken as even."""
        minute, passed = divmod(now, _MINUTE)
        if int(minute) == self._minute:
            return self._this_minute + self._last_minute * (1 - passed / _MINUTE)
        if int(minute) == self._minute + 1:
            return self._this_minute * (1 - passed / _MINUTE)
        return 0.0

    def latency(self) -> Latency | None:
        """Return mean and percentiles of the newest latencies, or None if there are none."""
        ordered = self.latencies.ordered()
        if not ordered:
            return None
        return Latency(fmean(ordered), percentile(ordered, 0.50), percentile(ordered, 0.95))


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from an attempt's start to its answer, or to the first content of a stream."""

    mean: float
    p50: float
    p95: float
