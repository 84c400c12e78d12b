"""Servers: slots, a queue, and what can be wrong with them."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Protocol

from benchmarks.simulation.loop import WALL, Loop
from failover_core import ResponseStatusError

Draw = Callable[[random.Random], float]
"""Draws a service time in seconds."""

_ROUND_TRIP = 0.002
"""Seconds after which a server that does not serve says so."""


def lognormal(median: float, sigma: float) -> Draw:
    """Return service times as model servers have them: many alike, some much longer."""
    mu = math.log(median)
    return lambda dice: dice.lognormvariate(mu, sigma)


def exponential(mean: float) -> Draw:
    """Return service times without memory."""
    return lambda dice: dice.expovariate(1.0 / mean)


@dataclass(frozen=True, slots=True)
class Condition:
    """What is wrong with a server.

    Attributes:
        refuses: it is down: connections are refused, and what it was doing is lost.
        silent: a black hole: it takes everything and never answers.
        capacity: share of its slots that work.
        slowness: factor on its service times.
        stall_share: share of its answers that take ``stall`` seconds more.
        stall: see ``stall_share``.
        errors: share of its requests that fail at once with a 500.
        rate: requests a second above which it answers 429 with ``Retry-After``.
        dates: whether that is a date, by the server's own clock, instead of seconds.
        cut_off: the clients that cannot reach it: silence is all they get.
    """

    refuses: bool = False
    silent: bool = False
    capacity: float = 1.0
    slowness: float = 1.0
    stall_share: float = 0.0
    stall: float = 0.0
    errors: float = 0.0
    rate: float | None = None
    dates: bool = False
    cut_off: frozenset[int] = frozenset()


HEALTHY = Condition()


class Request(Protocol):
    """What a server receives."""

    @property
    def client(self) -> int:
        """Number of the client that sent it."""

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for the answer any more."""

    def end(self, error: Exception | None) -> None:
        """Deliver the answer, or an error."""


class Server:
    """Serves requests in ``slots`` at a time; the next ``queue`` wait; the others get a 503.

    Args:
        number: of the server, from 0.
        loop: time.
        dice: chance of its own, so that its service times do not depend on the others'.
        slots: requests served at one time.
        queue: requests that may wait.
        service: draws the seconds that a request takes.
        notices: whether it drops what waits in its queue when the client has gone away.
    """

    def __init__(
        self,
        number: int,
        loop: Loop,
        dice: random.Random,
        *,
        slots: int,
        queue: int,
        service: Draw,
        notices: bool = False,
    ) -> None:
        self.number = number
        self.name = f"target-{number}"
        self._loop = loop
        self._dice = dice
        self._all_slots = slots
        self._slots = slots
        self._most_waiting = queue
        self._service = service
        self._notices = notices
        self._condition = HEALTHY
        self._waiting: deque[Request] = deque()
        # A set would yield them in another order in each process, and no run would replay.
        self._working: dict[Request, None] = {}
        self._free_at = 0.0

    def become(self, condition: Condition) -> None:
        """Change for the worse, or back."""
        self._condition = condition
        self._slots = max(1, round(self._all_slots * condition.capacity))
        if condition.refuses:
            lost = [*self._working, *self._waiting]
            self._working.clear()
            self._waiting.clear()
            for request in lost:
                request.end(ConnectionResetError("the server has crashed"))
        self._take_on()

    def receive(self, request: Request) -> None:
        """Serve a request, let it wait, turn it away, or do nothing at all."""
        condition = self._condition
        if condition.silent or request.client in condition.cut_off:
            return
        if error := self._complaint(condition):
            self._loop.after(_ROUND_TRIP, request.end, error)
        elif len(self._working) < self._slots:
            self._serve(request)
        else:
            self._waiting.append(request)

    def _complaint(self, condition: Condition) -> Exception | None:
        if condition.refuses:
            return ConnectionRefusedError("connection refused")
        if condition.rate and (wait := self._excess(condition.rate)):
            retry_after = self._date(wait) if condition.dates else str(math.ceil(wait))
            return ResponseStatusError("rate limit", status_code=429, retry_after=retry_after)
        if condition.errors and self._dice.random() < condition.errors:
            return ResponseStatusError("internal error", status_code=500)
        if len(self._working) >= self._slots and len(self._waiting) >= self._most_waiting:
            return ResponseStatusError("queue is full", status_code=503)
        return None

    def _excess(self, rate: float) -> float:
        """Return the seconds until the rate limit has room; 0 if it has, and take it."""
        now = self._loop.now()
        free_at = max(now - 1.0, self._free_at)
        if free_at > now:
            return free_at - now
        self._free_at = free_at + 1.0 / rate
        return 0.0

    def _date(self, wait: float) -> str:
        return formatdate(WALL + self._loop.now() + math.ceil(wait), usegmt=True)

    def _serve(self, request: Request) -> None:
        condition, dice = self._condition, self._dice
        seconds = self._service(dice) * condition.slowness
        if condition.stall_share and dice.random() < condition.stall_share:
            seconds += condition.stall
        self._working[request] = None
        self._loop.after(seconds, self._finish, request)

    def _finish(self, request: Request) -> None:
        if request not in self._working:
            return  # lost in a crash
        del self._working[request]
        if not self._condition.silent and request.client not in self._condition.cut_off:
            request.end(None)
        self._take_on()

    def _take_on(self) -> None:
        while self._waiting and len(self._working) < self._slots:
            request = self._waiting.popleft()
            if not (self._notices and request.is_over):
                self._serve(request)
