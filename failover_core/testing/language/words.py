"""Words, how much each of them says, and sentences."""

from __future__ import annotations

import re

_WORD = re.compile(r"\w+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\w\"'`(\[])|\n\W*\n|:\s*\n|\n(?=\s*[-*\d])")
_COMMON = frozenset(
    """a about all also an and any are as at be been but by can could did do does for from had has
    have how i if in into is it its may me more my no not of on one or other our out please s so
    some such than that the their them then there these they this those to use used using was we
    were what when where which who why will with would you your""".split()  # noqa: SIM905
)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, in order."""
    return _WORD.findall(text.lower())


def weight(word: str) -> float:
    """Return how much a word says about a text: little if every text has it."""
    return 0.1 if word in _COMMON else 1.0


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each on one line."""
    return [" ".join(part.split()) for part in _SENTENCE.split(text) if part.strip()]
