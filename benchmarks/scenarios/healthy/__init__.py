"""What failover costs while nothing fails."""

from __future__ import annotations

from benchmarks.harness.records import Effort, Section
from benchmarks.scenarios.healthy import chat, embedding, engine, llamaindex, ranking

TEXT = """
Nothing fails here (but for the rows that say so), so everything beyond the bare call is overhead.
A model that does nothing shows it at its largest; over HTTP it is what an application pays.
Pools have two targets. `litellm` and the distribution `langchain-failover` of PyPI, whose import
name is ours, run in processes of their own; models have no retries of their own. pybreaker's
coroutines need tornado. Texts of calls at the same moment all differ; ours send single texts that
are asked for at the same moment in one request.
"""

_PARTS = (
    engine.measure,
    chat.measure,
    embedding.measure,
    ranking.measure,
    llamaindex.measure,
)


def measure(effort: Effort) -> Section:
    """Measure all parts."""
    tables, plots = [], []
    for part in _PARTS:
        for table, plot in part(effort):
            tables.append(table)
            plots.append(plot)
    return Section("While all is well", TEXT, tuple(tables), tuple(plots))
