"""The account that the demo gives of itself: live in a terminal, plain in a log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from demo.app import App
from demo.ledger import Ledger, answered
from demo.scenes import Scene
from demo.score import Result, Score
from demo.servers import Fleet
from failover_core import Health, TargetStatus

_LOG_WIDTH = 130
_COLOURS = {Health.HEALTHY: "green", Health.UNKNOWN: "dim", Health.UNHEALTHY: "red"}

_INTRODUCTION = """\
Three model servers run on this machine, each a process of its own: [bold]alpha[/], \
[bold]bravo[/] and [bold]charlie[/].
They stand in for real ones: they speak the same protocols, embed, rerank and answer, but \
without a model's weights.
Two applications know all three: a [bold]LangChain[/] chain and a [bold]LlamaIndex[/] query \
engine. They index Python's own
reference and answer questions about it, while the servers are killed, throttled, hung, and \
brought back."""

_EXPLANATION = """\
Each step of an application (embedding, retrieval, reranking, chat) has its own pool of targets \
and learns for itself:
• A request that fails goes to the next target at once, so the question is answered all the same.
• A target that fails twice in these pools (five times by default) is [bold]ejected[/]: others \
go first, until its cooldown ends.
• Then one request at a time [bold]probes[/] it. Two answers, and it has [bold]recovered[/]: \
calls fail back to it.
• A target that [bold]throttles[/] is left alone for as long as it asked for, and not held to \
have failed.
• An answer with too few vectors is a failure like any other: nothing wrong enters an index."""


class Account:
    """Prints what happens.

    Args:
        apps: whose routers are followed.
        fleet: whose servers' states the footer shows.

    Attributes:
        footer: a line below everything else, in a terminal, for as long as it is entered.
    """

    def __init__(self, apps: Sequence[App], fleet: Fleet) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console.width = _LOG_WIDTH
        self._apps = apps
        self._fleet = fleet
        self.footer = self._console.status("")
        self._ledgers = {app.name: Ledger(app.routers) for app in apps}
        self._scenes = 0

    def introduce(self) -> None:
        """Say what is about to be seen."""
        self._console.rule("[bold]rag-failover: kill the servers, keep the answers")
        self._console.print(_INTRODUCTION)

    def scene(self, title: str, meaning: str) -> None:
        """Open a scene."""
        self._scenes += 1
        self._console.print()
        self._console.rule(f"[bold]{self._scenes}. {escape(title)}", align="left")
        self._console.print(f"[italic]{escape(meaning)}")
        self.refresh()

    def refresh(self) -> None:
        """Show what the servers do at the moment, in a terminal."""
        states = (f"{server.name}: {server.state}" for server in self._fleet)
        self.footer.update("   ".join(states))

    def note(self, text: str) -> None:
        """Tell a fact."""
        self._console.print(f"  {escape(text)}")

    def result(self, scene: Scene, result: Result) -> None:
        """Tell what became of a question."""
        self.refresh()
        mark = "[red]✗ lost[/]" if result.is_lost else "[green]✓[/]"
        text = " ".join(result.text.split())
        self._console.print(
            f"{mark} {result.app:<10} {scene.door:<12} {escape(result.question.text)} "
            f"[dim]{escape(text)}[/]",
            no_wrap=True,
            overflow="ellipsis",
        )

    def news(self) -> None:
        """Tell, for each application, which target served and what happened."""
        for name, ledger in self._ledgers.items():
            served = [f"{step}: {_listed(counts)}" for step, counts in ledger.served()]
            if served:
                self._indented(f"[cyan]{name}[/] served by  {escape('  │  '.join(served))}", 2)
            for step, sentences in ledger.happened():
                self._indented(f"[yellow]![/] {step}: {escape(_listed(sentences))}", 4)

    def summary(self, score: Score) -> None:
        """Close with what was seen, target by target, and what was lost."""
        self._console.print()
        self._console.rule("[bold]What you have seen")
        self._console.print(_EXPLANATION)
        self._console.print(self._table())
        asked = len(score.results)
        self._console.print(f"answers from the right topic: {score.right} of {asked}")
        self._console.print(f"wrong vectors in the indexes: {score.wrong_vectors}")
        self._console.print(f"lost {score.lost} of {asked}", style="red" if score.lost else "green")

    def _indented(self, text: str, places: int) -> None:
        self._console.print(Padding(text, (0, 0, 0, places), expand=False))

    def _table(self) -> Table:
        table = Table(title="Each target at the end, as router.status() gives it")
        for column in ("application", "step", "target"):
            table.add_column(column)
        for column in ("sent", "answered", "failed", "throttled", "p50 ms"):
            table.add_column(column, justify="right")
        table.add_column("health")
        for app in self._apps:
            for step, router in app.routers.items():
                for target in router.status().targets:
                    table.add_row(app.name, step, *_cells(target))
            table.add_section()
        return table


def _cells(target: TargetStatus) -> list[str]:
    counts = (target.requests, answered(target), target.failures, target.throttled)
    median = f"{target.latency.p50 * 1000:.0f}" if target.latency else "-"
    return [target.name, *map(str, counts), median, _state(target)]


def _state(target: TargetStatus) -> str:
    """Return the health in colour; a target whose ejection is over waits for a call to try it."""
    if target.health is Health.UNHEALTHY and not target.cooldown_remaining:
        return "[yellow]to be probed"
    return f"[{_COLOURS.get(target.health, 'yellow')}]{target.health}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{what} ×{number}" if number > 1 else what for what, number in counts.items())
