"""Peers: what applications do without this library, as callers of the same simulation.

They are models of the behaviour that their documentation describes, not their code. None of them
has a deadline for the call; each attempt has the same timeout as an attempt of ours.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.simulation.loop import Loop
from benchmarks.simulation.servers import Server
from failover_core import ResponseStatusError
from failover_core.engine.attempt import GiveUp, Wait

_BACKOFF = 1.0
_BACKOFF_MOST = 10.0

_SENDS = 3
_REST = 0.5
_COOLDOWN = 5.0
_ALLOWED_FAILURES = 3
_MINUTE = 60.0
_TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Send:
    """An attempt of a peer."""

    client: Server
    timeout: float
    hedge_after: float | None = None


class PeerCall:
    """What the calls of all peers have in common: they never hedge, and forget what went well."""

    is_over = False

    def __init__(self) -> None:
        self.is_rested = True
        self.last: BaseException = LookupError("there was nobody to send it to")

    def hedge(self, _attempt: Send) -> None:
        """Never."""

    def succeeded(self, _attempt: Send) -> None:
        """Remember nothing."""

    def abandoned(self, _attempt: Send) -> None:
        """Remember nothing."""

    def failed(self, _attempt: Send, error: BaseException) -> None:
        """Go on."""
        self.is_rested = False
        self.last = error

    def _rest(self, seconds: float) -> Wait:
        self.is_rested = True
        return Wait(seconds)


@dataclass(frozen=True, slots=True)
class Plain:
    """A fixed order without a memory, as ``with_fallbacks`` has, and ``with_retry`` within it.

    Args:
        servers: in order; one is a single target.
        timeout: of an attempt, in seconds.
        sends: to each server, with an exponential and jittered wait between them.
        dice: for the jitter.
    """

    servers: Sequence[Server]
    timeout: float
    sends: int
    dice: random.Random

    def begin(self) -> PlainCall:
        """Begin a call at the first server, whatever happened to the last one."""
        return PlainCall(self)


class PlainCall(PeerCall):
    """A call that sends to the same server until its sends are used up, then to the next one."""

    def __init__(self, caller: Plain) -> None:
        super().__init__()
        self._caller = caller
        self._failures = 0

    def next(self) -> Send | Wait | GiveUp:
        """Return what to do next."""
        caller = self._caller
        server, sends = divmod(self._failures, caller.sends)
        if server == len(caller.servers):
            return GiveUp(self.last)
        if sends and not self.is_rested:
            longest = min(_BACKOFF_MOST, _BACKOFF * 2.0 ** (sends - 1))
            return self._rest(caller.dice.uniform(0.0, longest))
        return Send(caller.servers[server], caller.timeout)

    def failed(self, attempt: Send, error: BaseException) -> None:
        """Count the failure, for this call alone."""
        super().failed(attempt, error)
        self._failures += 1


class Cooldowns:
    """A random server out of those that are not cooling down, and two retries, as in litellm.

    More than three failures within a minute, or a single 429, put a server aside for five
    seconds. When all are put aside, calls fail at once.
    """

    def __init__(
        self, servers: Sequence[Server], timeout: float, loop: Loop, dice: random.Random
    ) -> None:
        self.timeout = timeout
        self.dice = dice
        self._servers = servers
        self._loop = loop
        self._cold_until = [0.0] * len(servers)
        self._failures: list[deque[float]] = [deque() for _ in servers]

    def begin(self) -> CooldownCall:
        """Begin a call."""
        return CooldownCall(self)

    def warm(self) -> list[Server]:
        """Return the servers that are not cooling down."""
        now = self._loop.now()
        return [server for server in self._servers if self._cold_until[server.number] <= now]

    def failed(self, server: Server, error: BaseException) -> None:
        """Count a failure."""
        now, failures = self._loop.now(), self._failures[server.number]
        failures.append(now)
        while failures[0] <= now - _MINUTE:
            failures.popleft()
        is_throttle = isinstance(error, ResponseStatusError) and error.status_code == _TOO_MANY
        if is_throttle or len(failures) > _ALLOWED_FAILURES:
            self._cold_until[server.number] = now + _COOLDOWN


class CooldownCall(PeerCall):
    """A call to a random server, another one at each retry as long as there is one."""

    def __init__(self, caller: Cooldowns) -> None:
        super().__init__()
        self._caller = caller
        self._tried: list[Server] = []

    def next(self) -> Send | Wait | GiveUp:
        """Return what to do next."""
        caller, warm = self._caller, self._caller.warm()
        if not warm or len(self._tried) == _SENDS:
            return GiveUp(self.last)
        untried = [server for server in warm if server not in self._tried]
        if not untried and not self.is_rested:
            return self._rest(_REST * caller.dice.uniform(1.0, 2.0))
        return Send(caller.dice.choice(untried or warm), caller.timeout)

    def failed(self, attempt: Send, error: BaseException) -> None:
        """Count the failure against the server."""
        super().failed(attempt, error)
        self._tried.append(attempt.client)
        self._caller.failed(attempt.client, error)
