"""What a dead server costs: the first call, the next ones, and what is still sent to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, TypeVar
from urllib.parse import urlsplit

from benchmarks.harness.comparing import figure
from benchmarks.harness.processes import Worker, worker
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
from benchmarks.harness.turns import Call
from benchmarks.peers.chat import HELLO, PYPI
from benchmarks.peers.pairs import PAIRS
from benchmarks.peers.trial import SECONDS, Contacts, Trial, trials, trials_of_peers, warm_up
from benchmarks.servers import server
from failover_core.events import EventKind, FailoverEvent
from failover_core.testing import Fault, FaultServer
from langchain_failover import FailoverChatModel, FailoverEmbeddings
from llamaindex_failover import FailoverLLM

TEXT = """
Two servers, of which the first is dead from the start. Every contestant has served from healthy
servers before (imports and the like are paid for), is built anew, and makes its calls one after the
other: in turns with the others, or, before the black hole, 50 ms after the last one. All wait 2 s
for an answer, and none retries at the dead server where that can be switched off: litellm takes
`max_retries=0` for unset when it embeds. Requests are counted by the dead server; where nobody
listens, the interpreter counts attempts to connect. The black hole accepts connections and
requests, and is silent. litellm and the PyPI package have processes of their own. litellm's routers
over one group embed in one round only: they wait for a dead server three times before they retry.

`.with_fallbacks()` and whatever else forgets asks the dead server on every call. Ours, and breakers
that somebody has wrapped around a client, leave it after five failures; ours then lets one call at
a time through to see whether it is back. A litellm router over one group has no order: half of its
calls begin at the healthy server.
"""

REFUSED, BLACK_HOLE, BUSY = "refused", "black hole", "503"
DEATHS = {REFUSED: "refuse", BLACK_HOLE: "hang", BUSY: "status:code=503"}
"""How the first server is dead, by name, and how a fault server is told so."""

T = TypeVar("T")
Pool = tuple[Any, Call]
"""One of our objects, and how it is called."""


Trials = dict[str, list[Trial]]
"""The rounds of each contestant that is installed."""


def _chat(urls: list[str]) -> Pool:
    one = FailoverChatModel.from_urls(urls, model="m", policy={"attempt_timeout": SECONDS})
    return one, lambda: one.invoke(HELLO)


def _llm(urls: list[str]) -> Pool:
    one = FailoverLLM.from_urls(urls, model="m", policy={"attempt_timeout": SECONDS})
    return one, lambda: one.complete(HELLO)


def _embed(urls: list[str]) -> Pool:
    one = FailoverEmbeddings.from_urls(urls, model="m", policy={"attempt_timeout": SECONDS})
    return one, lambda: one.embed_query(HELLO)


_OURS: dict[str, Callable[[list[str]], Pool]] = {
    "chat: FailoverChatModel": _chat,
    "chat: FailoverLLM": _llm,
    "embed: FailoverEmbeddings": _embed,
}
_NAMES = sorted([*_OURS, *PAIRS], key=lambda name: name.split(":")[0])
_SLOW = [name for name in _NAMES if name.startswith("embed") and "litellm" in name]
"""Those that wait for a dead server nine times in a call."""


def measure(effort: Effort) -> Section:
    """Put everybody before each kind of dead server."""
    calls = effort.of(100, quick=3)
    with _groups(effort) as groups, server(dimension=8) as live:
        wanted = {name for group in groups for name in group.names}
        _at_once(partial(_warm_up, live.url), groups)
        found = {death: _rounds(groups, death, live.url, calls) for death in DEATHS}
    names = [name for name in _NAMES if name in wanted]
    tables = [_table(death, names, trials, calls) for death, trials in found.items()]
    return Section("A dead primary", TEXT, (_contacts(found), *tables), (_plot(found, calls),))


@dataclass(slots=True)
class Group:
    """Contestants that share a process.

    Attributes:
        worker: the process.
        names: of those that are installed.
        rounds: of each kind of death but the black hole.
        job: what they do there.
    """

    worker: Worker
    names: list[str]
    rounds: int
    job: Callable[..., dict[str, Trial]] = trials_of_peers


@contextmanager
def _groups(effort: Effort) -> Iterator[list[Group]]:
    """Start a process for each group; in a quick run there is none of the slow ones."""
    rounds = effort.of(3, quick=1)
    litellm = [name for name in _NAMES if "litellm" in name and name not in _SLOW]
    pypi = [name for name in _NAMES if PYPI in name]
    others = [name for name in _NAMES if name not in {*litellm, *pypi, *_SLOW}]
    with ExitStack() as stack:
        start = stack.enter_context
        groups = [
            Group(start(worker()), others, rounds, trials_of_all),
            Group(start(worker()), litellm, rounds),
            Group(start(worker("langchain-failover")), pypi, rounds),
        ]
        if effort is Effort.FULL:
            groups.append(Group(start(worker()), _SLOW, rounds=1))
        yield groups


def _warm_up(live: str, group: Group) -> None:
    ours = [name for name in group.names if name in _OURS]
    peers = [name for name in group.names if name in PAIRS]
    group.names = ours + group.worker.call(warm_up, peers, live)
    if ours:
        group.worker.call(trials_of_all, dict.fromkeys(ours, live), live, 1, take_turns=True)


def _at_once(job: Callable[[Group], T], groups: list[Group]) -> list[T]:
    with ThreadPoolExecutor(len(groups)) as threads:
        return list(threads.map(job, groups))


def _rounds(groups: list[Group], death: str, live: str, calls: int) -> Trials:
    found: Trials = {name: [] for group in groups for name in group.names}
    job = partial(_trials, death, live, 1 + calls)
    # What waits for silence needs no CPU, but much time.
    is_long = death == BLACK_HOLE
    for number in range(1 if is_long else max(group.rounds for group in groups)):
        taking_part = [group for group in groups if number < group.rounds]
        for made in _at_once(job, groups) if is_long else map(job, taking_part):
            for name, trial in made.items():
                found[name].append(trial)
    return found


def _trials(death: str, live: str, calls: int, group: Group) -> dict[str, Trial]:
    """Let a group make its calls, each contestant with a dead server of its own."""
    with ExitStack() as stack:
        dead = {name: stack.enter_context(FaultServer()) for name in group.names}
        for one in dead.values():
            one.fault = Fault.parse(DEATHS[death])
        urls = {name: one.url for name, one in dead.items()}
        turns = death != BLACK_HOLE
        found = group.worker.call(group.job, urls, live, calls, take_turns=turns)
        if death != REFUSED:
            for name, trial in found.items():
                trial.requests = len(dead[name].requests)
        return found


def trials_of_all(
    dead: Mapping[str, str], live: str, calls: int, *, take_turns: bool
) -> dict[str, Trial]:
    """Do as ``trials_of_peers`` does, with ours among them, whose events tell of probes."""
    ours = {name: _OURS[name]([url, live]) for name, url in dead.items() if name in _OURS}
    peers = {name: PAIRS[name]([url, live], SECONDS) for name, url in dead.items() if name in PAIRS}
    calls_of_ours = {name: call for name, (_, call) in ours.items()}
    found = trials({**calls_of_ours, **peers}, dead, calls, take_turns=take_turns)
    for name, (one, _) in ours.items():
        found[name].contacts = _of_events(one.router.events, urlsplit(dead[name]).netloc)
    return found


def _of_events(events: Iterable[FailoverEvent], target: str) -> Contacts:
    kinds = [event.kind for event in events if event.target == target]
    until = kinds.index(EventKind.EJECTED) if EventKind.EJECTED in kinds else len(kinds)
    before = kinds[:until].count(EventKind.ATTEMPT_FAILED)
    return Contacts(before, kinds.count(EventKind.PROBING))


def _contacts(found: Mapping[str, Trials]) -> Table:
    """Return a table of our requests to the dead server, of the round with the most."""
    rows = [
        Row(f"{name}, {death}", _contact(max(trials[name], key=lambda one: one.requests)))
        for death, trials in found.items()
        for name in _OURS
    ]
    columns = ("", "all", "until it was ejected", "probes", "others, after the ejection")
    return Table("Requests of ours to the dead server", columns, tuple(rows))


def _contact(one: Trial) -> tuple[Cell, ...]:
    assert one.contacts is not None  # noqa: S101 - ours have them
    before, probes = one.contacts.before, one.contacts.probes
    others = Figure(one.requests - before - probes, goal=Goal(at_most=0))
    return Figure(one.requests), Figure(before), Figure(probes), others


def _table(death: str, names: list[str], trials: Trials, calls: int) -> Table:
    columns = (
        "",
        "first call",
        f"next {calls} calls, together",
        "one of them",
        "requests to the dead server",
        "calls that failed",
    )
    rows = [Row(name, _cells(trials.get(name))) for name in names]
    return Table(f"First server: {death}", columns, tuple(rows))


def _cells(trials: list[Trial] | None) -> tuple[Cell, ...]:
    if trials is None:
        return (NOT_INSTALLED, *[""] * 4)
    return (
        figure([one.each[0] for one in trials], "s"),
        figure([sum(one.each[1:]) for one in trials], "s"),
        figure([seconds for one in trials for seconds in one.each[1:]], "s"),
        figure([one.requests for one in trials]),
        figure([one.lost for one in trials]),
    )


def _plot(found: Mapping[str, Trials], calls: int) -> Plot:
    series = [
        Series(death, tuple(_together(one) for one in trials.values()), tuple(trials), is_ours=True)
        for death, trials in found.items()
    ]
    title = f"{calls} calls after the first, with a dead primary"
    return Plot("calls", title, "", "seconds, together", tuple(series), Shape.BARS, log="y")


def _together(trials: list[Trial]) -> float:
    return median(sum(one.each[1:]) for one in trials)
