"""What the slowest calls take: a server that slows down, and answers that stall."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import httpx
import numpy as np

from benchmarks.harness.processes import Worker, served, worker
from benchmarks.harness.records import (
    NOT_INSTALLED,
    Cell,
    Effort,
    Figure,
    Goal,
    Plot,
    Row,
    Section,
    Series,
    Shape,
    Table,
)
from benchmarks.harness.turns import AsyncCall, Lap, Turn, loop

TEXT = """
Three chat servers take 30 ms for an answer each, any number at once. Every 16 ms a call begins,
whether or not those before it were answered, and it is timed from the moment it was due: so a slow
answer does not keep the calls behind it out of the figures. All are asynchronous, in one process
and event loop for each contestant, over `ChatOpenAI` (litellm over its own client).

*Brown-out*: one server, the first in order, takes ten times as long for 40 % of the time.
*Stalls*: on every server, 2 % of the answers take twenty times as long.

`timeout` is 150 ms, of an attempt. `.with_fallbacks()` and `priority` ask the servers in order,
litellm's Router (2 retries) and `least_loaded` spread the calls. A hedge is a second send to
another server when the first has taken longer than 95 % of the others did; its budget is 5 % of
the calls, and the ten that a new pool has saved up. *Sends* are counted by the servers;
percentiles are of the calls that were answered.
"""

SERVERS = 3
SERVICE = 0.03
"""Seconds of an answer."""

EVERY = 0.016
"""Seconds from one call to the next."""

WARM_UP = 24
"""Calls of a contestant before its turns: a percentile wants 20 answers."""

TIMEOUT = 0.15
"""Seconds of an attempt, where it has a timeout."""

_HEDGE: dict[str, Any] = {"hedge": {"after": "p95"}}
_PATIENCE = 60


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with the servers.

    Attributes:
        name: of the table.
        fault: of the servers that have it, as their control takes it.
        begins: share of a turn after which the first server has it; None: all always have it.
    """

    name: str
    fault: dict[str, Any]
    begins: float | None = None


@dataclass(slots=True)
class Record:
    """What a contestant did.

    Attributes:
        each: seconds of every call; infinite if it failed.
        sends: that the servers have received.
    """

    each: list[float] = field(default_factory=list)
    sends: int = 0

    @property
    def answered(self) -> list[float]:
        """Seconds of the calls that were answered."""
        return [seconds for seconds in self.each if seconds < math.inf]


LASTS = 0.4
"""Share of a turn that a brown-out lasts."""

BARE, FALLBACKS, LITELLM = "one server, bare", ".with_fallbacks(), timeout", "litellm, timeout"
_OURS: dict[str, dict[str, Any]] = {
    "ours, priority": {},
    "ours, priority, timeout": {"policy": {"attempt_timeout": TIMEOUT}},
    "ours, priority, hedge": {"policy": _HEDGE},
    "ours, least_loaded": {"strategy": "least_loaded"},
    "ours, least_loaded, hedge": {"strategy": "least_loaded", "policy": _HEDGE},
}
CONTESTANTS = (BARE, FALLBACKS, LITELLM, *_OURS)

TROUBLES = (
    Trouble("Brown-out", {"fault": "slow", "seconds": 9 * SERVICE}, begins=0.3),
    Trouble("Stalls", {"fault": "slow", "seconds": 19 * SERVICE, "share": 0.02}),
)


def turn(name: str, urls: Sequence[str], calls: int) -> Turn:
    """Build a contestant and warm it up; a worker calls this."""
    build = _litellm if name == LITELLM else _langchain
    call = build(name, urls)
    loop().run(_scheduled(call, WARM_UP))

    def lap() -> Lap:
        started = time.process_time()
        each = loop().run(_scheduled(call, calls))
        return Lap(EVERY, (time.process_time() - started) / calls, tuple(each))

    return lap


async def _scheduled(call: AsyncCall, calls: int) -> list[float]:
    """Begin calls at even intervals, answered or not; time each from the moment it was due."""
    now = asyncio.get_running_loop().time

    async def timed(due: float) -> float:
        await asyncio.sleep(due - now())
        try:
            await call()
        except Exception:  # noqa: BLE001 - of whatever kind, the call is lost
            return math.inf
        return now() - due

    begin = now()
    return await asyncio.gather(*(timed(begin + number * EVERY) for number in range(calls)))


def _langchain(name: str, urls: Sequence[str]) -> AsyncCall:
    timeout = TIMEOUT if name == FALLBACKS else _PATIENCE
    build = import_module("langchain_openai").ChatOpenAI
    known = {"model": "m", "api_key": "none", "max_retries": 0, "timeout": timeout}
    models = [build(base_url=url, **known) for url in urls]
    if name in _OURS:
        model = import_module("langchain_failover").FailoverChatModel(targets=models, **_OURS[name])
    else:
        model = models[0] if name == BARE else models[0].with_fallbacks(models[1:])
    return lambda: model.ainvoke("hello")


def _litellm(_: str, urls: Sequence[str]) -> AsyncCall:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it downloads one when imported
    litellm: Any = import_module("litellm")
    litellm.suppress_debug_info = True
    known = {"model": "openai/m", "api_key": "none"}
    models = [{"model_name": "m", "litellm_params": {**known, "api_base": url}} for url in urls]
    router = litellm.Router(model_list=models, timeout=TIMEOUT, num_retries=2)
    asked = [{"role": "user", "content": "hello"}]
    return lambda: router.acompletion(model="m", messages=asked)


def measure(effort: Effort) -> Section:
    """Let all contestants meet each trouble."""
    tables, plots = [], []
    with worker() as langchain, worker() as litellm:  # an import of litellm changes much
        places = {name: litellm if name == LITELLM else langchain for name in CONTESTANTS}
        for trouble in TROUBLES:
            found = _meet(trouble, places, effort)
            rows = [_row(name, found.get(name), effort) for name in CONTESTANTS]
            tables.append(Table(trouble.name, _COLUMNS, tuple(rows)))
            plots.append(_plot(trouble, found))
    return Section("Brown-out and stalls", TEXT, tuple(tables), tuple(plots))


def _meet(trouble: Trouble, places: Mapping[str, Worker], effort: Effort) -> dict[str, Record]:
    calls, rounds = effort.of(400, quick=16), effort.of(3, quick=1)
    found: dict[str, Record] = {}
    with ExitStack() as stack:
        urls = [stack.enter_context(_server()) for _ in range(SERVERS)]
        if trouble.begins is None:
            for url in urls:
                _order(url, trouble.fault)
        turns = {name: place.turn(turn, name, urls, calls) for name, place in places.items()}
        present = {name: one for name, one in turns.items() if one}
        for name, one in [*present.items()] * rounds:
            record = found.setdefault(name, Record())
            before = _sends(urls)
            with _in_time(trouble, urls[0], calls * EVERY):
                record.each += one().each
            record.sends += _sends(urls) - before
    return found


@contextmanager
def _server() -> Iterator[str]:
    with served("failover_core.testing", "--latency", str(SERVICE)) as (url, _):
        yield url


@contextmanager
def _in_time(trouble: Trouble, url: str, seconds: float) -> Iterator[None]:
    """Let a server meet a trouble in the middle of a turn of so many seconds."""
    if trouble.begins is None:
        yield
        return
    order = {**trouble.fault, "lasting": LASTS * seconds}
    timer = threading.Timer(trouble.begins * seconds, _order, (url, order))
    timer.start()
    try:
        yield
    finally:
        timer.join()


def _order(url: str, fault: dict[str, Any]) -> None:
    httpx.post(f"{url}/_fault", json=fault).raise_for_status()


def _sends(urls: Sequence[str]) -> int:
    return sum(httpx.get(f"{url}/_fault").json()["received"] for url in urls)


_COLUMNS = ("", "p50", "p99", "p99.9", "sends a call", "failed")
_FEWEST = 1_000
"""Calls below which one in a thousand says nothing."""


def _row(name: str, record: Record | None, effort: Effort) -> Row:
    if record is None:
        return Row(name, (NOT_INSTALLED, *[""] * (len(_COLUMNS) - 2)))
    answered = record.answered
    rarest: Cell = _percentile(answered, 999) if len(answered) >= _FEWEST else "too few calls"
    goal = _SPARING if "hedge" in name and effort is Effort.FULL else None
    sends = Figure(record.sends / len(record.each), "×", goal=goal)
    failed = Figure(len(record.each) - len(answered))
    return Row(
        name, (_percentile(answered, 500), _percentile(answered, 990), rarest, sends, failed)
    )


_SPARING = Goal(at_most=1.05)


def _percentile(seconds: Sequence[float], thousandth: int) -> Figure:
    return Figure(float(np.quantile(seconds, thousandth / 1000)), "s")


def _plot(trouble: Trouble, found: Mapping[str, Record]) -> Plot:
    series = tuple(_bars(label, thousandth, found) for label, thousandth in _SHOWN.items())
    name = trouble.name.lower()
    return Plot(name, f"{trouble.name}: ms of a call", "", "ms", series, Shape.BARS, log="y")


_SHOWN = {"p50": 500, "p99": 990}


def _bars(label: str, thousandth: int, found: Mapping[str, Record]) -> Series:
    of_each = (_percentile(record.answered, thousandth).value * 1e3 for record in found.values())
    return Series(label, tuple(of_each), tuple(found), is_ours=label == "p99")
