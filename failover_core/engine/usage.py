"""How many tokens the answers to a piece of work have cost, by the servers' own count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Usage:
    """What servers have charged for, as far as they say so. Any thread may add to it.

    Attributes:
        answers: input tokens of each answer.
    """

    answers: list[int] = field(default_factory=list)

    @property
    def tokens(self) -> int:
        """Input tokens of all answers."""
        return sum(self.answers)


_meters: ContextVar[tuple[Usage, ...]] = ContextVar("failover_usage", default=())


@contextmanager
def metered() -> Iterator[Usage]:
    """Count the tokens of every answer to an HTTP client of this library within the block.

    Answers count in the thread or task of the block and in those that copied its context. A
    block inside another counts for both.
    """
    usage = Usage()
    token = _meters.set((*_meters.get(), usage))
    try:
        yield usage
    finally:
        _meters.reset(token)


def is_metered() -> bool:
    """Tell whether somebody counts the tokens of what is done here."""
    return bool(_meters.get())


def charge(tokens: int) -> None:
    """Add the tokens of an answer to every meter that is running."""
    for usage in _meters.get():
        usage.answers.append(tokens)
