"""Retries and breakers for any function, each around one that does nothing."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from benchmarks.harness.turns import AsyncCall, Call

Guarded = tuple[Call, AsyncCall | None]
"""The function and the coroutine's; None for what the peer does not offer without tornado."""


def nothing() -> int:
    """Do nothing."""
    return 1


async def anothing() -> int:
    """Do nothing."""
    return 1


def _tenacity() -> Guarded:
    module = import_module("tenacity")
    retry = module.retry(stop=module.stop_after_attempt(3), wait=module.wait_random_exponential())
    return retry(nothing), retry(anothing)


def _stamina() -> Guarded:
    retry = import_module("stamina").retry(on=ConnectionError, attempts=3)
    return retry(nothing), retry(anothing)


def _pybreaker() -> Guarded:
    return import_module("pybreaker").CircuitBreaker()(nothing), None


def _purgatory() -> Guarded:
    module = import_module("purgatory")
    sync = module.SyncCircuitBreakerFactory()("idle")
    return sync(nothing), module.AsyncCircuitBreakerFactory()("idle")(anothing)


GUARDS: dict[str, Callable[[], Guarded]] = {
    "tenacity": _tenacity,
    "stamina": _stamina,
    "pybreaker": _pybreaker,
    "purgatory": _purgatory,
}
