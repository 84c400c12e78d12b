"""Active probes: asking the targets of a pool for their health, call or no call.

A probe decides little. It ends the cooldown of an ejected target that is well again, so that the
next call tries it; only that call's answer closes the breaker. And it counts a failure of a
target in service, so that an idle pool knows of a dead one before its next call.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial

from failover_core.classify import classify
from failover_core.engine.marks import probed
from failover_core.engine.pool import Pool
from failover_core.engine.target_state import TargetState
from failover_core.engine.workers import in_thread
from failover_core.health.checks import Check, carry_out, check_for
from failover_core.policy import ProbePolicy


class Prober:
    """Probes the targets of one pool.

    Args:
        pool: whose targets are probed; it is not kept alive.
        policy: when, and how.
    """

    def __init__(self, pool: Pool, policy: ProbePolicy) -> None:
        self.policy = policy
        self._pool = weakref.ref(pool)
        self._lock = threading.Lock()
        self._running: dict[int, Future[bool]] = {}
        self._due: dict[int, float] = {}
        self._stop = threading.Event()
        weakref.finalize(pool, self._stop.set)

    def start(self) -> None:
        """Probe from now on, each target at times of its own, until ``close``."""
        self._stop.clear()
        thread = threading.Thread(target=_probe_on, args=(self,), name="failover-probes")
        thread.daemon = True
        thread.start()
        _STARTED.add(self)

    def close(self) -> None:
        """Send no further probe of its own accord."""
        _STARTED.discard(self)
        self._stop.set()

    def probe(self, states: Iterable[TargetState]) -> dict[str, bool]:
        """Probe targets now, all at once, and return which of them are well, by name.

        Of several probes of a target at one time only one is sent; the others share its result.
        Disabled targets are not asked, nor those that nothing may ask.
        """
        results = {str(state.target.name): self._send(state) for state in states}
        return {name: result.result() for name, result in results.items() if result is not None}

    def send_due(self, now: float) -> float:
        """Send the probes whose time has come; return the seconds until the next one is due.

        A target is first probed within one interval, at random, so that the processes of a
        fleet which start together do not probe together; then after an interval and up to a
        fifth of it.
        """
        pool = self._pool()
        if pool is None:
            return self.policy.interval
        interval, dice = self.policy.interval, pool.dice
        for state in pool.states:
            due = self._due.get(state.slot)
            if due is None:
                self._due[state.slot] = now + dice.uniform(0.0, interval)
            elif due <= now:
                self._due[state.slot] = now + interval * dice.uniform(1.0, 1.2)
                self._send(state)
        return min(self._due.values()) - now

    def wait(self, seconds: float) -> bool:
        """Wait; return whether there is anything left to do afterwards."""
        return not self._stop.wait(seconds)

    def next_wait(self) -> float | None:
        """Send what is due; return the seconds to wait then, or None if the pool is gone."""
        pool = self._pool()
        return None if pool is None else self.send_due(pool.clock.now())

    def renew_after_fork(self) -> None:
        """Probe on in the child; what the parent's threads were about is lost."""
        self._lock = threading.Lock()
        self._running.clear()
        self._due.clear()
        self._stop = threading.Event()
        self.start()

    def _send(self, state: TargetState) -> Future[bool] | None:
        """Begin a probe, or join the one under way; None if the target must not be asked."""
        check = check_for(state, self.policy)
        if state.disabled or check is None:
            return None
        with self._lock:
            if (running := self._running.get(state.slot)) is not None:
                return running
            result = self._running[state.slot] = Future()
            state.is_checking = True
        work = partial(self._carry_out, state, check, state.breaker.generation)
        try:
            in_thread(partial(_resolve, result, work))
        except BaseException:
            self._finish(state)
            raise
        return result

    def _carry_out(self, state: TargetState, check: Check, generation: int) -> bool:
        pool, seconds = self._pool(), self.policy.timeout
        error: BaseException | None = None
        try:
            try:
                carry_out(check, state, seconds, time.monotonic() + seconds)
            except BaseException as raised:  # noqa: BLE001 - whatever it is, it says: not well
                error = raised
            if pool is not None:
                _record(pool, state, generation, error)
        finally:
            self._finish(state)
        return error is None

    def _finish(self, state: TargetState) -> None:
        # Once its result is recorded: who asks later is not told of a probe that is over.
        with self._lock:
            state.is_checking = False
            self._running.pop(state.slot, None)


def _resolve(result: Future[bool], work: Callable[[], bool]) -> None:
    try:
        result.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        result.set_exception(error)


def _record(pool: Pool, state: TargetState, generation: int, error: BaseException | None) -> None:
    found = None if error is None else classify(error, wall=pool.clock.wall())
    with pool.lock:
        events = probed(pool, state, generation, found, pool.clock.now())
    for event in events:
        pool.publish(event)
    pool.wake(state)


def _probe_on(prober: Prober) -> None:
    while (seconds := prober.next_wait()) is not None and prober.wait(max(0.0, seconds)):
        pass


_STARTED: weakref.WeakSet[Prober] = weakref.WeakSet()


def _renew_probers() -> None:
    for prober in tuple(_STARTED):
        prober.renew_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_probers)
