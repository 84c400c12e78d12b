"""How costs and throughput grow: with servers, with targets, with calls at once."""

from __future__ import annotations

from itertools import chain

from benchmarks.harness.records import Effort, Section
from benchmarks.scenarios.scaling import callers, servers, targets

TEXT = """
*Slope* is that of the straight line through the costs in a plot whose axes are both logarithmic
(least squares): 0 is a cost that does not grow, 1 one that grows with what there is more of.
"""


def measure(effort: Effort) -> Section:
    """Measure with more and more of each."""
    parts = (servers, targets, callers)
    tables, plots = zip(*(part.measured(effort) for part in parts), strict=True)
    texts = (part.TEXT.strip() for part in parts)
    text = "\n\n".join((TEXT.strip(), *texts))
    return Section("Scaling", text, tuple(chain(*tables)), tuple(chain(*plots)))
