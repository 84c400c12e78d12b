"""What the user gave as texts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from failover_core.errors import ConfigurationError


def checked_texts(texts: Any, field: str = "texts", *, start: int = 0) -> list[str]:
    """Return texts as a list of its own, so that a caller who changes his shifts no vector.

    Args:
        texts: any iterable of strings but a string.
        field: what the texts are called, for the message.
        start: index of the first of them, for the message.

    Raises:
        ConfigurationError: it is one string, no iterable, or one of them is no string.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        what = "one string" if isinstance(texts, str) else type(texts).__name__
        message = f"{field} is {what}; give a list of strings"
        raise ConfigurationError(message)
    copied = list(texts)
    for index, text in enumerate(copied, start):
        if not isinstance(text, str):
            message = f"{field}[{index}] is {type(text).__name__}; every text must be a string"
            raise ConfigurationError(message)
    return copied
