"""Dialogues: what a protocol sends and waits for, whoever carries it out."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from failover_core.errors import ConfigurationError

T = TypeVar("T")

_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Post:
    """A request of a protocol: a path below the base URL, and what to send there.

    Without anything to send it is a GET. Unless it ``reads_json``, any success will do.
    """

    path: str
    payload: dict[str, Any] | None = None
    reads_json: bool = True


Dialogue = Generator[Post, Any, T]
"""Yields what to send and is sent the JSON of the answer, or the ResponseStatusError it was.

An answer that nobody reads is None.
"""


def encoded(post: Post) -> bytes:
    """Return the body of a request.

    Raises:
        ConfigurationError: one of its texts is not valid Unicode.
    """
    try:
        return orjson.dumps(post.payload)
    except orjson.JSONEncodeError:
        where = next(_broken_texts(post.payload or {}), "a text")
        message = f"{post.path}: {where} is not valid Unicode (a lone surrogate); remove it"
        raise ConfigurationError(message) from None


def _broken_texts(payload: dict[str, Any]) -> Iterator[str]:
    """Yield the places of texts that no encoding has."""
    for field, value in payload.items():
        for place, text in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(text, str) and _SURROGATE.search(text):
                is_one_of_several = isinstance(value, list) and len(value) > 1
                yield f"{field}[{place}] of the request" if is_one_of_several else field
