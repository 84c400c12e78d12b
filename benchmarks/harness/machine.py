"""Where the figures come from."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import distributions

from benchmarks.harness.processes import OTHER
from benchmarks.harness.records import Machine

_NAMED = (
    "aiohttp",
    "httpx",
    "httpx-aiohttp",
    "langchain",
    "langchain-core",
    "langchain-failover",
    "langchain-litellm",
    "langchain-openai",
    "litellm",
    "llama-index-core",
    "llama-index-embeddings-openai",
    "llama-index-llms-openai-like",
    "numpy",
    "openai",
    "orjson",
    "purgatory",
    "pybreaker",
    "pydantic",
    "stamina",
    "tenacity",
)
"""Distributions whose version makes a difference."""


def machine() -> Machine:
    """Return what is known of this one."""
    return Machine(
        date=datetime.now(UTC).date().isoformat(),
        cpus=len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        load=os.getloadavg()[0],
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    others = [str(folder) for folder in OTHER.glob("*")]
    known = [*distributions(path=others), *distributions()] if others else distributions()
    found = {one.metadata["Name"].lower().replace("_", "-"): one.version for one in known}
    return {name: found.get(name, "") for name in _NAMED}
