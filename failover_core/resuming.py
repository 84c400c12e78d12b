"""How a stream that broke goes on at another target, without a word lost or doubled.

A target that can prefill is given the text sent so far and continues it. Any other one answers
anew, and its answer is held back while it repeats that text. Only an answer that repeats all of
it, to the letter, tells where it goes on: of one that says something else, nothing can be used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Generic, TypeVar

from failover_core.errors import ErrorClass, TargetError

T = TypeVar("T")

_TELLING = 12
"""Different characters that a text needs so that its repetition is surely no continuation of it:
"ha " may well go on with another "ha "."""

_OTHERWISE = "the new answer says something else than what was sent"


class ContinuationError(TargetError):
    """A target cannot continue the stream of another one: no fault of it, and not for callers."""

    error_class = ErrorClass.INVALID_REQUEST


@dataclass(frozen=True, slots=True)
class Resume(Generic[T]):
    """What resuming a broken stream needs to know of its chunks.

    Attributes:
        text: returns the text that a chunk shows; "" if it shows none (a role, reasoning), None
            if it shows something that no other target can continue, such as a tool call.
        cut: returns the chunk with another text, given that text and all of the stream up to its
            end (for chunks that carry both).
        prefill: returns the stream of a target's client that continues a text: ``(client, text)``.
            Targets whose ``supports`` has ``"prefill"`` are asked so. None: all answer anew.
        keeps_rest: whether chunks from the first without a text on wait until the stream has
            ended in order. A break before that can then still be resumed. For streams whose
            reader can do nothing with a part of what is no text, as with half a tool call.
        replaces: whether each chunk shows all of the answer so far, so that those of the next
            target take the place of the former, and nothing needs to be joined.
    """

    text: Callable[[T], str | None]
    cut: Callable[[T, str, str], T]
    prefill: Callable[[Any, str], Any] | None = None
    keeps_rest: bool = False
    replaces: bool = False


TEXT: Resume[Any] = Resume(
    text=lambda chunk: chunk if isinstance(chunk, str) else None,
    cut=lambda _chunk, text, _whole: text,
)
"""For chunks that are strings; a stream of anything else cannot be resumed."""

WHOLE: Resume[Any] = Resume(
    text=lambda _: None, cut=lambda chunk, _text, _whole: chunk, replaces=True
)
"""For chunks each of which shows all of the answer so far, such as ever more complete objects."""


class Transcript(Generic[T]):
    """What the caller has of a stream, whichever targets it came from.

    Attributes:
        resume: how its chunks are read.
        is_text: whether there was nothing else, so that another target could continue it.
    """

    def __init__(self, resume: Resume[T]) -> None:
        self.resume = resume
        self.is_text = True
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """All of its text."""
        self._parts = ["".join(self._parts)]
        return self._parts[0]

    def feed(self, chunk: T) -> list[T]:
        """Return a chunk that goes out as it is, taken into account."""
        text = self.resume.text(chunk)
        if text is None:
            self.is_text = False
        else:
            self._parts.append(text)
        return [chunk]

    def add_cut(self, chunk: T, text: str) -> T:
        """Return a chunk of a continuation with its part of the text."""
        self._parts.append(text)
        return self.resume.cut(chunk, text, self.text)

    @property
    def prefill(self) -> str:
        """The text to continue; servers refuse one that ends with white space."""
        return self.text.rstrip()


class Splice(Generic[T]):
    """Joins the chunks of one target's answer to what a broken stream has sent.

    Of white space where the two meet, as much is released as the stream does not end with yet.
    A chunk is held only while the answer to a prefill might yet turn out to repeat it.

    Args:
        transcript: of the stream so far; what is released is added to it.
        prefilled: whether the target was given the text to continue. Some servers repeat it.
    """

    def __init__(self, transcript: Transcript[T], *, prefilled: bool) -> None:
        sent = transcript.text
        self._transcript = transcript
        self._prefilled = prefilled
        self._body = sent.strip()
        self._tail = sent[len(sent.rstrip()) :]
        self._matched = 0
        self._is_joined = False
        self._ends_word = bool(self._body and self._tail) and not prefilled
        self._held: list[T] = []

    def feed(self, chunk: T) -> list[T]:
        """Return the chunks that may go out now, each with the text that is new.

        Raises:
            ContinuationError: the answer is none that the stream could go on with.
        """
        text = self._transcript.resume.text(chunk)
        if text is None:
            return self._join_other(chunk)
        if self._is_joined:
            return [self._release(chunk, text)]
        said = text.lstrip() if self._body and not self._matched else text
        left = len(self._body) - self._matched
        if not self._body.startswith(said[:left], self._matched):
            self._held.append(chunk)
            return self._diverge()
        self._matched += len(said[:left])
        if said and self._matched == len(self._body):
            return self._join(chunk, said[left:])
        if self._prefilled:
            self._held.append(chunk)
        return []

    def end(self) -> list[T]:
        """Return the chunks that still go out when the answer has ended in order.

        Raises:
            ContinuationError: it ended within the text that was sent before.
        """
        if self._is_joined:
            return []
        if self._body and not self._prefilled:
            message = "the new answer is shorter than what was sent"
            raise ContinuationError(message)
        return self._release_held()

    def _join_other(self, chunk: T) -> list[T]:
        if self._matched < len(self._body) and not (self._prefilled or self._is_joined):
            message = "the new answer is not one of text"
            raise ContinuationError(message)
        return [*self._release_held(), *self._transcript.feed(chunk)]

    def _join(self, chunk: T, new: str) -> list[T]:
        if self._prefilled and len(set(self._body)) < _TELLING:
            message = "nobody can tell whether the answer repeats so short a text or continues it"
            raise ContinuationError(message)
        self._held, self._is_joined = [], True
        return [self._release(chunk, new)] if new else []

    def _diverge(self) -> list[T]:
        if not self._prefilled:
            raise ContinuationError(_OTHERWISE)
        return self._release_held()  # it never was a repetition

    def _release_held(self) -> list[T]:
        held, self._held, self._is_joined = self._held, [], True
        return [self._release(chunk, self._transcript.resume.text(chunk) or "") for chunk in held]

    def _release(self, chunk: T, text: str) -> T:
        if text and self._ends_word and not text[0].isspace():
            raise ContinuationError(_OTHERWISE)  # a whole word is the beginning of another one
        self._ends_word = self._ends_word and not text
        if text and self._tail:
            same = _common(text, self._tail)
            text, self._tail = text[same:], self._tail[same:]
            if text:
                self._tail = ""
        return self._transcript.add_cut(chunk, text)


def _common(one: str, other: str) -> int:
    """Return the number of characters that two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
