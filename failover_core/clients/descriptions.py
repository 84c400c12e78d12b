"""What is known of a server and its model: how much a request takes, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """The most that one request may hold, as the vendor says; None where it sets no limit.

    Attributes:
        items: texts or documents.
        bytes: of the whole request.
        tokens: of all its texts together.
    """

    items: int | None = None
    bytes: int | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a server says of the model; None where it does not say.

    Attributes:
        model: its name.
        capabilities: what it is for: ``embed``, ``rerank``, or what else the server lists.
        dimension: numbers in one of its vectors.
        max_input: tokens of one text at the most.
        max_items: texts or documents of one request at the most.
    """

    model: str
    capabilities: frozenset[str] = frozenset()
    dimension: int | None = None
    max_input: int | None = None
    max_items: int | None = None


def whole(value: Any) -> int | None:
    """Return a positive number of a server's answer, or None if it is anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 1 <= value < 2**53 else None


def words(value: Any) -> frozenset[str]:
    """Return the texts of a list of a server's answer."""
    found = value if isinstance(value, list) else []
    return frozenset(word for word in found if isinstance(word, str))
