"""What failover costs while nothing fails."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.harness.records import Plot, Section, Table


def section(title: str, text: str, shown: Iterable[tuple[Table, Plot]]) -> Section:
    """Return the section of tables and their plots."""
    tables, plots = zip(*shown, strict=True)
    return Section(f"While all is well: {title}", text, tables, plots)
