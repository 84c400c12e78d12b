"""What the routers of an application say about themselves, from one look to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from queue import Empty, SimpleQueue

from failover_core import EventKind, FailoverEvent, Router, TargetStatus

_SENTENCES = {
    EventKind.FAILED_OVER: "{e.from_target} → {e.to_target} ({e.reason})",
    EventKind.THROTTLED: "{e.target} throttles",
    EventKind.EJECTED: "{e.target} ejected",
    EventKind.PROBING: "{e.target} probed",
    EventKind.RECOVERED: "{e.target} recovered",
    EventKind.SWITCHED: "calls begin at {e.to_target} now",
    EventKind.EXHAUSTED: "every target failed",
}
"""How the kinds of events are told. A failed attempt is told by the failover that follows."""


class Ledger:
    """Follows the routers of one application.

    Args:
        routers: by the name of the step that each serves.
    """

    def __init__(self, routers: Mapping[str, Router]) -> None:
        self._routers = routers
        self._events: dict[str, SimpleQueue[FailoverEvent]] = {}
        self._counted: dict[str, Counter[str]] = {}
        for step, router in routers.items():
            self._events[step] = SimpleQueue()
            router.events.subscribe(self._events[step].put)
            self._counted[step] = Counter()

    def served(self) -> Iterator[tuple[str, Counter[str]]]:
        """Yield how many calls of each step each target has answered since the last look."""
        for step, router in self._routers.items():
            counts = Counter({one.name: answered(one) for one in router.status().targets})
            if new := counts - self._counted[step]:
                yield step, new
            self._counted[step] = counts

    def happened(self) -> Iterator[tuple[str, Counter[str]]]:
        """Yield the events of each step since the last look, in words, each with its number."""
        for step, router in self._routers.items():
            router.events.flush()
            told = (_SENTENCES.get(event.kind, "").format(e=event) for event in self._new(step))
            if sentences := Counter(sentence for sentence in told if sentence):
                yield step, sentences

    def _new(self, step: str) -> Iterator[FailoverEvent]:
        try:
            while True:
                yield self._events[step].get_nowait()
        except Empty:
            return


def answered(target: TargetStatus) -> int:
    """Return how many attempts a target has answered."""
    return target.requests - target.failures - target.throttled - target.in_flight
