"""What is kept: one JSON file of all scenarios, of which a run replaces its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.harness.markdown import file_name, page
from benchmarks.harness.records import Result

_RESULTS = TypeAdapter(dict[str, Result])


def merged(
    old: Mapping[str, Result], new: Mapping[str, Result], order: Iterable[str]
) -> dict[str, Result]:
    """Return the results of both, the new ones before the old, in an order."""
    both = {**old, **new}
    return {name: both[name] for name in order if name in both}


def load(path: Path) -> dict[str, Result]:
    """Read what was kept; nothing if there is no such file."""
    return _RESULTS.validate_json(path.read_bytes()) if path.exists() else {}


def save(new: Mapping[str, Result], folder: Path, order: Iterable[str], intro: str) -> None:
    """Put new results into the folder's ``results.json``, its page and its plots."""
    from benchmarks.harness.plots import draw  # noqa: PLC0415 - of an extra

    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / "results.json"
    results = merged(load(kept), new, order)
    kept.write_bytes(_RESULTS.dump_json(results, indent=1) + b"\n")
    (folder / "README.md").write_text(page(results, intro))
    for name, result in new.items():
        for plot in result.section.plots:
            draw(plot, folder / file_name(name, plot))
