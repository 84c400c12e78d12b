"""Clients: what makes calls, and how a call is carried out in virtual time."""

from __future__ import annotations

from typing import Any, Protocol

from benchmarks.simulation.ledger import Ledger
from benchmarks.simulation.loop import Loop
from failover_core import AttemptTimeoutError
from failover_core.engine.attempt import GiveUp, Wait


class Call(Protocol):
    """One call, as ``failover_core.engine.call.Call`` is one; the peers imitate it."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended with an error, attempts in flight notwithstanding."""

    def next(self) -> Any:
        """Return a ``Wait``, a ``GiveUp``, or an attempt to be sent."""

    def hedge(self, attempt: Any, /) -> Any:
        """Return a second attempt beside a slow one, or None."""

    def succeeded(self, attempt: Any, /) -> None:
        """Record an answer."""

    def failed(self, attempt: Any, error: BaseException, /) -> None:
        """Record an error."""

    def abandoned(self, attempt: Any, /) -> None:
        """Record that the other attempt was quicker."""


class Caller(Protocol):
    """What a client makes its calls with: a router, or a peer."""

    def begin(self) -> Call:
        """Begin a call."""


class Sending:
    """One attempt on its way: to be answered, to fail, or to be given up.

    A server may still work at it after nobody waits for it any more.
    """

    __slots__ = ("_errand", "attempt", "is_over")

    def __init__(self, errand: Errand, attempt: Any) -> None:
        self._errand = errand
        self.attempt = attempt
        self.is_over = False

    @property
    def client(self) -> int:
        """Number of the client that sent it."""
        return self._errand.client

    def end(self, error: Exception | None) -> None:
        """Take the answer, or an error, unless it comes too late."""
        if not self.is_over:
            self.is_over = True
            self._errand.ended(self, error)

    def expire(self) -> None:
        """Give up waiting."""
        if not self.is_over:
            self.end(AttemptTimeoutError("no answer in time"))


class Errand:
    """Carries one call out: the driver of the simulation, beside those for threads and tasks."""

    __slots__ = ("_began", "_call", "_in_flight", "_ledger", "_loop", "client")

    def __init__(self, client: int, caller: Caller, loop: Loop, ledger: Ledger) -> None:
        self.client = client
        self._loop = loop
        self._ledger = ledger
        self._began = loop.now()
        self._call = caller.begin()
        self._in_flight: list[Sending] = []

    def proceed(self) -> None:
        """Do what the call says."""
        step = self._call.next()
        if isinstance(step, Wait):
            self._loop.after(step.seconds, self.proceed)
        elif isinstance(step, GiveUp):
            self._ledger.failed(self._began)
        else:
            self._send(step)

    def ended(self, sending: Sending, error: Exception | None) -> None:
        """Report how an attempt ended, and go on."""
        self._in_flight.remove(sending)
        if error is None:
            self._call.succeeded(sending.attempt)
            self._abandon_rest()
            self._ledger.answered(self._began, self._loop.now())
            return
        self._call.failed(sending.attempt, error)
        if self._call.is_over:
            self._abandon_rest()
        if not self._in_flight:
            self.proceed()

    def _send(self, attempt: Any) -> None:
        sending = Sending(self, attempt)
        self._in_flight.append(sending)
        self._ledger.sent(attempt.client.number, self._loop.now())
        if attempt.timeout is not None:
            self._loop.after(attempt.timeout, sending.expire)
        if attempt.hedge_after is not None:
            self._loop.after(attempt.hedge_after, self._hedge, sending)
        attempt.client.receive(sending)

    def _hedge(self, sending: Sending) -> None:
        if not sending.is_over and (second := self._call.hedge(sending.attempt)):
            self._ledger.hedged(self._loop.now())
            self._send(second)

    def _abandon_rest(self) -> None:
        for other in self._in_flight:
            other.is_over = True
            self._call.abandoned(other.attempt)
        self._in_flight.clear()
