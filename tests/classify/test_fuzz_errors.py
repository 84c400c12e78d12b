"""Errors with anything in them: each gets a class, and none of them loses a call.

A failing seed is printed. ``FAILOVER_SEED=123`` replays it alone.
"""

from __future__ import annotations

import os
import random
import traceback
from typing import Any

import httpx
import pytest

from failover_core import ErrorClass, Router, Target
from failover_core.classify import classify
from failover_core.testing import FakeClock
from tests.figures import Figure, size

REPLAYED = os.environ.get("FAILOVER_SEED")

RAISED = (
    ErrorClass.INVALID_REQUEST,
    ErrorClass.INPUT_TOO_LARGE,
    ErrorClass.CONTENT_SAFETY,
    ErrorClass.NEUTRAL,
)

_NAMES = [
    *("status_code", "code", "status", "http_status", "type", "body", "details", "error", "args"),
    *("message", "response", "raw_response", "headers", "retry_after", "reason", "request_id"),
    *("grpc_status_code", "errno", "strerror", "__notes__", "metadata", "trailing_metadata"),
]
_KEYS = [
    *("error", "code", "type", "message", "details", "detail", "innererror", "HTTPStatusCode"),
    *("ResponseMetadata", "Error", "Code", "retryDelay", "retry-after", "Retry-After", 7, None),
]
_TEXTS = [
    *("", "429", "HTTP 503", "status 401", "rate limit", "context length", "insufficient_quota"),
    *("content_filter", "model_not_found", "nan", "inf", "-1", "9" * 400, "\ud800", "\x00"),
    *("Wed, 21 Oct 2999 07:28:00 GMT", "[" * 3_000, '{"error": {"code": 429}}', "٤٢٩", "é" * 999),
]


class Raising:
    """Raises whatever is done with it."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        raise ZeroDivisionError(name)

    def __str__(self) -> str:
        raise ZeroDivisionError

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        raise ZeroDivisionError

    def __bool__(self) -> bool:
        raise ZeroDivisionError

    def __len__(self) -> int:
        raise ZeroDivisionError


class LyingText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise ZeroDivisionError

    def lower(self) -> str:
        raise ZeroDivisionError

    def strip(self, *_: Any) -> str:
        raise ZeroDivisionError


class LyingNumber(int):
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __lt__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


class Holder:
    """An object with any attributes, as a foreign response is."""


_SCALARS: list[Any] = [
    *(None, True, False, 0, -1, 200, 400, 401, 404, 413, 429, 499, 500, 503, 529, 600, 10**400),
    *(float("nan"), float("inf"), 429.0, b"429", b"\xff", object(), int, len, LyingText("429")),
    *(Raising(), LyingNumber(429), Ellipsis, 5 + 2j),
]


def value(dice: random.Random, depth: int = 3) -> Any:
    match dice.randrange(8 if depth else 3):
        case 0:
            return dice.choice(_TEXTS)
        case 1 | 2:
            return dice.choice(_SCALARS)
        case 3:
            return [value(dice, depth - 1) for _ in range(dice.randrange(4))]
        case 4 | 5:
            return {dice.choice(_KEYS): value(dice, depth - 1) for _ in range(dice.randrange(4))}
        case 6:
            return httpx.Headers({"retry-after": dice.choice(("3", "nan", "9" * 400))})
        case _:
            return filled(dice, Holder(), depth - 1)


def filled(dice: random.Random, found: Any, depth: int) -> Any:
    """Return an object with random attributes, some of which raise."""
    for _ in range(dice.randrange(5)):
        try:
            setattr(found, dice.choice(_NAMES), value(dice, depth))
        except Exception:  # noqa: BLE001, S112 - some refuse what they are given
            continue
    return found


def error(dice: random.Random) -> Exception:
    """Return an exception of any make, perhaps with others behind it."""
    bases: list[type[Exception]] = [Exception, ValueError, OSError, TimeoutError, KeyError]
    name = dice.choice(("RateLimitError", "APIStatusError", "Timeout", "é", "ModelError"))
    members: dict[str, Any] = {"__module__": dice.choice((None, "openai", "x.y", "builtins", ""))}
    if dice.random() < 0.2:
        members[dice.choice(_NAMES)] = property(lambda _: 1 / 0)
    if dice.random() < 0.1:
        members["__str__"] = members["__repr__"] = lambda _: 1 / 0
    if dice.random() < 0.1:
        members["add_note"] = lambda *_: 1 / 0
    kind = type(name, (dice.choice(bases),), members)
    found: Exception = filled(dice, kind(*(value(dice) for _ in range(dice.randrange(3)))), 3)
    if dice.random() < 0.3:
        found.__cause__ = dice.choice((error(dice), found))
    return found


def is_lost(found: Exception, error_class: ErrorClass) -> bool:
    """Return whether a call does not go on to the second target, although it should."""

    def behave(client: str) -> str:
        if client == "a":
            raise found
        return client

    router = Router([Target("a", name="a"), Target("b", name="b")], clock=FakeClock())
    try:
        return router.run(behave) != "b"
    except type(found) as raised:
        return raised is not found or error_class not in RAISED


def outcome(found: Exception) -> str | None:
    """Return what is wrong about how an error is taken, if anything is."""
    try:
        result = classify(found, wall=1e9)
        checks = {
            "it has no class": result.error_class in ErrorClass,
            "its summary is no text": type(result.summary) is str,
            "its wait is out of range": 0 < (result.retry_after or 1) <= 300,
            "its call is lost": not is_lost(found, result.error_class),
        }
    except Exception as trouble:  # noqa: BLE001 - the test is that there is none
        return "".join(traceback.format_tb(trouble.__traceback__)) + type(trouble).__name__
    return next((told for told, holds in checks.items() if not holds), None)


def test_any_error_gets_a_class_and_loses_no_call(figure: Figure) -> None:
    number = size(ci=3_000, full=50_000)
    seeds = range(number) if REPLAYED is None else [int(REPLAYED)]
    wrong = {seed: told for seed in seeds if (told := outcome(error(random.Random(seed))))}
    figure("fuzzed exceptions", exceptions=len(seeds), not_taken=len(wrong))
    for seed, told in wrong.items():
        pytest.fail(f"seed {seed}: {told}")
