"""What happened in a run, and the figures that are taken from it."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]

PERCENTILES = (50, 95, 99, 99.9)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a run, in seconds from its beginning."""

    start: float
    end: float


class Ledger:
    """Keeps count of calls and sends, each dated.

    A call counts for the instant at which it began, a send for the one at which it was sent.

    Args:
        servers: how many.
        seconds: length of the run.
        patience: seconds after which an answer is of no use any more.
    """

    def __init__(self, servers: int, seconds: float, patience: float) -> None:
        self.servers = servers
        self.seconds = int(seconds)
        self._patience = patience
        self._began = array("d")
        self._latency = array("d")
        self._lost = array("d")
        self._hedged = array("d")
        self._sends = [array("d") for _ in range(servers)]

    def sent(self, server: int, now: float) -> None:
        """Count an attempt."""
        self._sends[server].append(now)

    def hedged(self, now: float) -> None:
        """Count an attempt, already counted as one, as a hedge too."""
        self._hedged.append(now)

    def answered(self, began: float, now: float) -> None:
        """Count a call that was answered, however late."""
        self._began.append(began)
        self._latency.append(now - began)

    def failed(self, began: float) -> None:
        """Count a call that ended with an error."""
        self._lost.append(began)

    # Figures

    def calls(self, span: Span) -> int:
        """Return the number of calls that began in a span."""
        return int(np.sum(_within(self._began, span)) + np.sum(_within(self._lost, span)))

    def goodput(self, span: Span) -> float:
        """Return the share of a span's calls that were answered in time."""
        return _ratio(self.answers(span), self.calls(span))

    def answers(self, span: Span) -> int:
        """Return the number of a span's calls that were answered in time."""
        in_time = np.frombuffer(self._latency) <= self._patience
        return int(np.sum(_within(self._began, span) & in_time))

    def latencies_of(self, span: Span) -> Numbers:
        """Return the latency in seconds of each answered call of a span."""
        found: Numbers = np.frombuffer(self._latency)[_within(self._began, span)]
        return found

    def latencies(self, span: Span) -> list[float]:
        """Return the ``PERCENTILES`` of the latency of a span's answered calls, in seconds."""
        latencies = self.latencies_of(span)
        if not latencies.size:
            return [float("nan")] * len(PERCENTILES)
        return [float(number) for number in np.percentile(latencies, PERCENTILES)]

    def p99(self, span: Span) -> float:
        """Return the 99th percentile of the latency of a span's answered calls, in seconds."""
        return self.latencies(span)[PERCENTILES.index(99)]

    def amplification(self, span: Span) -> float:
        """Return the sends for each call in a span."""
        sends = sum(int(np.sum(_within(times, span))) for times in self._sends)
        return _ratio(sends, self.calls(span))

    def hedges(self, span: Span) -> float:
        """Return the hedges for each call in a span."""
        return _ratio(int(np.sum(_within(self._hedged, span))), self.calls(span))

    def peak(self, servers: Iterable[int], span: Span) -> float:
        """Return the most that any of some servers was sent in one second; NaN for no servers."""
        loads = (self.load(server)[int(span.start) : int(span.end)] for server in servers)
        return max((float(load.max(initial=0)) for load in loads), default=math.nan)

    def load(self, server: int) -> Numbers:
        """Return what a server was sent in each second of the run."""
        return self._by_second(np.frombuffer(self._sends[server]))

    def goodput_by_second(self) -> Numbers:
        """Return the share of each second's calls that were answered in time."""
        began, lost = np.frombuffer(self._began), np.frombuffer(self._lost)
        in_time = self._by_second(began[np.frombuffer(self._latency) <= self._patience])
        offered = self._by_second(began) + self._by_second(lost)
        share: Numbers = np.divide(in_time, offered, out=np.ones(self.seconds), where=offered > 0)
        return share

    def recovery(self, since: float, until: float, share: float = 0.99) -> float:
        """Return the seconds from an instant to the last second with less than such a goodput."""
        goodput = self.goodput_by_second()[int(since) : int(until)]
        below = np.flatnonzero(goodput < share)
        return float(below[-1] + 1) if below.size else 0.0

    def _by_second(self, times: Numbers) -> Numbers:
        counts, _ = np.histogram(times, bins=self.seconds, range=(0, self.seconds))
        return counts


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _within(times: array[float], span: Span) -> Numbers:
    dated = np.frombuffer(times)
    found: Numbers = (dated >= span.start) & (dated < span.end)
    return found
