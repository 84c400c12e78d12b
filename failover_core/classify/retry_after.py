"""How long a server asks to be left alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST: Final = 300.0
"""Longest wait that is honoured, in seconds."""

_ABSURD: Final = 86_400.0
_SECONDS: Final = re.compile(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*s?\s*")
_MILLISECOND_HEADERS: Final = ("retry-after-ms", "x-ms-retry-after-ms", "grpc-retry-pushback-ms")
_LONGEST_TEXT: Final = 64


def from_headers(headers: Mapping[str, object], *, wall: float) -> float | None:
    """Return the wait, in seconds, that lower-case headers ask for, or None."""
    for name in _MILLISECOND_HEADERS:
        if (milliseconds := _number(headers.get(name))) is not None:
            return _bounded(milliseconds / 1000)
    return from_value(headers.get("retry-after"), wall=wall)


def from_value(value: object, *, wall: float) -> float | None:
    """Return the wait, in seconds, of one ``Retry-After`` value, or None.

    Args:
        value: seconds as a number or a text (``"2"``, ``"2.5"``, ``"24s"``), or an HTTP date.
        wall: the Unix time now, in seconds.

    Returns:
        A wait above 0 and at most ``LONGEST``. Seconds up to a day are cut to that; more, a
        negative number, NaN, infinity and hundreds of digits are absurd and give None. So does
        a date in the past or further ahead than ``LONGEST``, which is how a wrong clock looks.
    """
    if (seconds := _number(value)) is not None:
        return _bounded(seconds)
    ahead = _date(value) - wall if isinstance(value, str) else 0.0
    return ahead if 0 < ahead <= LONGEST else None


def _number(value: object) -> float | None:
    if isinstance(value, str) and len(value) <= _LONGEST_TEXT:
        match = _SECONDS.fullmatch(value)
        return float(match[1]) if match else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Compared before the conversion: an int can be too large for a float.
        return float(value) if 0 < value <= _ABSURD else None
    return None


def _bounded(seconds: float) -> float | None:
    return min(seconds, LONGEST) if 0 < seconds <= _ABSURD else None


def _date(value: str) -> float:
    if len(value) > _LONGEST_TEXT:
        return 0.0
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return 0.0
