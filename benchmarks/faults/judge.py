"""Puts a system through a scenario, and says what came of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import httpx
import numpy as np

from benchmarks.faults.scenarios import Scenario
from benchmarks.faults.systems import Build, System
from failover_core.errors import PartialEmbeddingError
from failover_core.testing import FaultServer

PATIENCE = 20.0
"""Seconds after which a call is taken to hang."""

_CLOSE = 1e-3


class Verdict(StrEnum):
    """What came of a scenario, the best first."""

    PASS = "pass"  # noqa: S105 - no password
    """Every call was answered as it must be, and the servers were left in peace."""
    PARTIAL = "partial"
    """Every call was answered, but the server that failed was asked far too often."""
    SAFE = "safe"
    """A call that could have been answered was not, and said so."""
    FAIL = "fail"
    """A wrong answer was handed out as right, or a call did not come back."""
    NONE = "none"
    """It does not offer this."""


def judge(build: Build, scenario: Scenario) -> Verdict:
    """Return the verdict on one system in one scenario."""
    with scenario.servers() as (first, second, right):
        system = build([first.url, second.url])
        for call in range(scenario.calls):
            if (verdict := _call(system, scenario, call, right)) is not Verdict.PASS:
                return verdict
        is_spared = scenario.seen_by(first) <= scenario.requests
        return Verdict.PASS if is_spared else Verdict.PARTIAL


def _call(system: System, scenario: Scenario, call: int, right: FaultServer) -> Verdict:
    ask = _reranked if scenario.path == "/rerank" else _embedded
    ended: list[Any] = []
    texts = scenario.texts_of(call)
    worker = threading.Thread(
        target=lambda: ended.append(_outcome(ask, system, texts)), daemon=True
    )
    worker.start()
    worker.join(PATIENCE)
    if not ended:
        return Verdict.FAIL
    (outcome,) = ended
    if outcome is NotImplemented:
        return Verdict.NONE
    if isinstance(outcome, Exception):
        return _on_error(outcome, scenario, texts, right)
    return Verdict.PASS if _is_right(outcome, scenario, texts, right) else Verdict.FAIL


def _outcome(ask: Callable[[System, list[str]], Any], system: System, texts: list[str]) -> Any:
    try:
        return ask(system, texts)
    except Exception as error:  # noqa: BLE001 - it is what came of it
        return error


def _embedded(system: System, texts: list[str]) -> Any:
    return NotImplemented if system.embed is None else system.embed(texts)


def _reranked(system: System, texts: list[str]) -> Any:
    return NotImplemented if system.rerank is None else system.rerank(texts[1], texts)


def _on_error(
    error: Exception, scenario: Scenario, texts: list[str], right: FaultServer
) -> Verdict:
    if scenario.sees == "safe":
        return Verdict.PASS
    if scenario.sees == "named" and isinstance(error, PartialEmbeddingError):
        wanted = _vectors(right, texts)
        poisoned = {place for place, text in enumerate(texts) if str(scenario.poison) in text}
        kept = all(np.allclose(one, wanted[n], atol=_CLOSE) for n, one in error.results.items())
        is_whole = len(error.results) + len(error.errors) == len(texts)
        return Verdict.PASS if kept and is_whole and set(error.errors) == poisoned else Verdict.SAFE
    return Verdict.SAFE


def _is_right(outcome: Any, scenario: Scenario, texts: list[str], right: FaultServer) -> bool:
    try:
        if scenario.path == "/embeddings":
            wanted = _vectors(right, texts)
            return np.shape(outcome) == np.shape(wanted) and np.allclose(
                outcome, wanted, atol=_CLOSE
            )
        return dict(outcome) == _ranking(right, texts)
    except (TypeError, ValueError):  # whatever it is, it is no list of vectors
        return False


def _vectors(server: FaultServer, texts: list[str]) -> Any:
    asked = {"model": "m", "input": texts}
    answer = httpx.post(f"{server.url}/embeddings", json=asked).raise_for_status().json()
    return np.array([one["embedding"] for one in answer["data"]])


def _ranking(server: FaultServer, texts: list[str]) -> dict[int, float]:
    asked = {"model": "m", "query": texts[1], "documents": texts}
    answer = httpx.post(f"{server.url}/rerank", json=asked).raise_for_status().json()
    return {one["index"]: one["relevance_score"] for one in answer["results"]}
