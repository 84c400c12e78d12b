"""Copies of what a reranker is given, so that it cannot change the caller's."""

from __future__ import annotations

from typing import Any


def own(value: Any) -> Any:
    """Return a value whose containers may be written to; other objects may refuse to be copied."""
    if isinstance(value, dict):
        return {name: own(item) for name, item in value.items()}
    return [own(item) for item in value] if isinstance(value, list) else value
