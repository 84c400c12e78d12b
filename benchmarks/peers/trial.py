"""Contestants before a pair of servers whose first is dead. Nothing of ours is imported here."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from benchmarks.harness.turns import Call
from benchmarks.peers.pairs import PAIRS

SECONDS = 2.0
"""Of an attempt."""

PAUSE = 0.05
"""Seconds before each call of those that do not take turns."""


@dataclass(frozen=True, slots=True)
class Contacts:
    """What our events say about the dead server.

    Attributes:
        before: attempts until it was ejected.
        probes: attempts that were let through later, to see whether it is back.
    """

    before: int
    probes: int


@dataclass(slots=True)
class Trial:
    """What became of a contestant's calls.

    Attributes:
        each: seconds of every call.
        lost: calls that were not answered.
        requests: that went to the dead server; at first, attempts to connect to it.
        contacts: of ours.
    """

    each: list[float] = field(default_factory=list)
    lost: int = 0
    requests: int = 0
    contacts: Contacts | None = None


def warm_up(names: Iterable[str], live: str) -> list[str]:
    """Let contestants import and open what they need; return those that are installed."""
    present = []
    for name in names:
        try:
            PAIRS[name]([live, live], SECONDS)()
        except ImportError:
            continue
        present.append(name)
    return present


def trials_of_peers(
    dead: Mapping[str, str], live: str, calls: int, *, take_turns: bool
) -> dict[str, Trial]:
    """Build contestants that know nothing yet, and let them make their calls.

    Args:
        dead: the URL of each contestant's dead server.
        live: that of the other one, which all share.
        calls: of each contestant.
        take_turns: one call each in turns; else all at once, with pauses.
    """
    built = {name: PAIRS[name]([url, live], SECONDS) for name, url in dead.items()}
    return trials(built, dead, calls, take_turns=take_turns)


def trials(
    contestants: Mapping[str, Call], dead: Mapping[str, str], calls: int, *, take_turns: bool
) -> dict[str, Trial]:
    """Let contestants make their calls; see ``trials_of_peers``."""
    ports = {name: urlsplit(url).port for name, url in dead.items()}
    before = {port: _connects()[port] for port in ports.values()}
    found = {name: Trial() for name in contestants}
    if take_turns:
        for _ in range(calls):
            for name, call in contestants.items():
                _time(call, found[name])
    else:
        with ThreadPoolExecutor(len(contestants)) as threads:
            list(threads.map(partial(_pace, calls), contestants.values(), found.values()))
    for name, port in ports.items():
        found[name].requests = _connects()[port] - before[port]
    return found


def _pace(calls: int, call: Call, trial: Trial) -> None:
    for _ in range(calls):
        time.sleep(PAUSE)
        _time(call, trial)


def _time(call: Call, trial: Trial) -> None:
    started = time.perf_counter()
    try:
        call()
    except Exception:  # noqa: BLE001 - it is what came of it
        trial.lost += 1
    trial.each.append(time.perf_counter() - started)


@cache
def _connects() -> Counter[int | None]:
    """Return how often this process has tried to connect to each port, from the first use on.

    A port on which nobody listens cannot count. The interpreter tells of every attempt, whichever
    library makes it.
    """
    found: Counter[int | None] = Counter()

    def hear(event: str, given: tuple[Any, ...]) -> None:
        if event == "socket.connect" and isinstance(given[1], tuple):
            found[given[1][1]] += 1

    sys.addaudithook(hear)
    return found
