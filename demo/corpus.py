"""The text that the demo is about: Python's own reference, as every Python carries it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pydoc_data.topics import topics

_PASSAGE_LENGTH = 700
"""Characters after which a passage ends with its paragraph."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A few paragraphs of one topic."""

    topic: str
    text: str


def passages() -> list[Passage]:
    """Return Python's language reference in passages.

    Short topics appear again inside longer ones (``for`` inside ``compound``). A paragraph is
    kept once, with the shortest, so that each passage has one topic that is the right one.
    """
    seen: set[str] = set()
    found: list[Passage] = []
    for topic, text in sorted(topics.items(), key=lambda item: len(item[1])):
        _heading, *paragraphs = (part for part in text.split("\n\n") if part.strip())
        new = [part for part in dict.fromkeys(paragraphs) if part not in seen]
        seen.update(new)
        found += [Passage(topic, passage) for passage in _packed(new)]
    return found


def _packed(paragraphs: list[str]) -> Iterator[str]:
    """Join paragraphs until they are long enough for a passage."""
    pending: list[str] = []
    for paragraph in paragraphs:
        pending.append(paragraph)
        if sum(map(len, pending)) >= _PASSAGE_LENGTH:
            yield "\n\n".join(pending)
            pending.clear()
    if pending:
        yield "\n\n".join(pending)
