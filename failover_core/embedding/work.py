"""The texts of one job: what is still to be sent, and what has come back. Sends nothing itself."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from failover_core.classify import classify
from failover_core.embedding.rows import Rows, lists_of
from failover_core.embedding.verification import Vectors
from failover_core.errors import (
    AllTargetsFailedError,
    ConfigurationError,
    ErrorClass,
    PartialEmbeddingError,
)
from failover_core.splitting import Limits

_ABOUT_THE_TEXTS = (
    ErrorClass.INPUT_TOO_LARGE,
    ErrorClass.INVALID_REQUEST,
    ErrorClass.CONTENT_SAFETY,
)
"""Errors that one text of a batch, or the size of it, may be to blame for."""

_REFUSED_FROM_THE_START = 3
"""Texts refused one by one, none having been taken, after which the request itself is wrong."""

_LARGE = 32
"""Texts of a request from which on one text less costs next to nothing."""


@dataclass(slots=True, eq=False)
class Piece:
    """Neighbouring texts that go out in one request.

    Attributes:
        start: place of the first text in the job.
        texts: of it.
        halved: the piece that it is a half of, if that was refused.
        halves_done: how many of its own halves were taken whole.
    """

    start: int
    texts: Sequence[str]
    halved: Piece | None = None
    halves_done: int = 0

    def halves(self) -> list[Piece]:
        """Return its two halves."""
        middle = len(self.texts) // 2
        return [
            Piece(self.start, self.texts[:middle], self),
            Piece(self.start + middle, self.texts[middle:], self),
        ]


@dataclass(frozen=True, slots=True)
class Course:
    """How a job goes.

    Attributes:
        places: requests that may be under way at once.
        spread: whether they go to all targets; else in the order of the strategy.
        first: texts of the first request at the most; None is as many as of any other.
        most: texts of any request at the most; None is as many as the limits allow.
        spare: texts that each full request of several leaves room for.
        gives_up: whether the first texts, if refused, speak for all of them.
    """

    places: int = 1
    spread: bool = False
    first: int | None = None
    most: int | None = None
    spare: int = 0
    gives_up: bool = True


@dataclass(eq=False)
class Work:
    """One job, worked off by any number of threads or tasks.

    Args:
        texts: of the job; of those that are equal only one is sent.
        limits: how much goes into one request; learns from what is refused.
        course: how it goes.
        count: is told of each so many texts that have their vectors.
    """

    texts: Sequence[str]
    limits: Limits
    course: Course = field(default_factory=Course)
    count: Callable[[int], None] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._distinct = list(dict.fromkeys(self.texts))
        self._next = self._known = 0
        self._again: deque[Piece] = deque()
        self._vectors: Rows | None = None
        self._has_vector = np.zeros(len(self._distinct), np.bool_)
        self._refused: dict[int, Exception] = {}
        self._stopped: BaseException | None = None

    @property
    def requests(self) -> int:
        """The requests that it takes, more or less."""
        items = min(self.limits.items, self.course.most or self.limits.items)
        return -(-(len(self._distinct) - self._known) // items)

    @property
    def at_once(self) -> int:
        """The requests that are to be under way at once."""
        return min(self.course.places, self.requests)

    @property
    def unsent(self) -> Sequence[str]:
        """The texts that no request was made of yet."""
        return self._distinct[self._next :]

    def fill(self, known: Mapping[str, Vectors]) -> None:
        """Take vectors of unsent texts that need no request, while nothing is on its way."""
        if not known:
            return
        to_send = [text for text in self.unsent if text not in known]
        piece = Piece(self._next, list(known))
        self._distinct[self._next :] = [*known, *to_send]
        self._next += len(known)
        self._known = len(known)
        self.keep(piece, np.stack(list(known.values())))

    def take(self) -> Piece | None:
        """Return texts to send next; None if there are none left."""
        with self._lock:
            if self._stopped is not None:
                return None
            if self._again:
                return self._again.popleft()
            start, course = self._next, self.course
            self._next = self.limits.end_of_request(self._distinct, start)
            size = self._next - start
            if most := course.most if start else course.first or course.most:
                self._next = min(self._next, start + most)
            elif _LARGE <= size < len(self._distinct) and not self.limits.have_room_beside(size):
                self._next -= course.spare
            return Piece(start, self._distinct[start : self._next]) if start < self._next else None

    def keep(self, piece: Piece, vectors: Rows) -> None:
        """Take the vectors of a piece."""
        start, end = piece.start, piece.start + len(piece.texts)
        with self._lock:
            if self._vectors is None:
                self._vectors = _room_for(len(self._distinct), vectors)
            if isinstance(self._vectors, list):
                self._vectors[start:end] = lists_of(vectors)
            else:
                self._vectors[start:end] = vectors
            self._has_vector[start:end] = True
            if piece.halved:
                piece.halved.halves_done += 1
                # One half alone says nothing: the other one may hold a text that is too long.
                if piece.halved.halves_done == 2:  # noqa: PLR2004
                    self.limits.learn(len(piece.texts))
        if self.count:
            self.count(sum(map(self._times.__getitem__, piece.texts)))

    def failed(self, piece: Piece, error: BaseException) -> None:
        """Take note of why a piece was not embedded: halve it, or leave its text out, or stop."""
        with self._lock:
            if not isinstance(error, Exception) or not is_about_the_texts(error):
                self._stop(error)
            elif len(piece.texts) > 1:
                self._again.extendleft(reversed(piece.halves()))
            else:
                self._refused[piece.start] = error
                if self.course.gives_up and self._vectors is None and self._has_sent_in_vain():
                    self._stop(error)

    def stop(self, error: BaseException) -> None:
        """Hand out no further texts."""
        with self._lock:
            self._stop(error)

    def vectors(self) -> Vectors:
        """Return one vector per text, in the order of the texts.

        Raises:
            PartialEmbeddingError: some texts have none. If no text has one, what went wrong with
                the first is raised instead.
        """
        return np.asarray(self._rows(), np.float32)

    def lists(self) -> list[list[float]]:
        """Return what ``vectors`` returns, as lists: those that were kept as they came."""
        return lists_of(self._rows())

    def _rows(self) -> Rows:
        if self._stopped is not None and not isinstance(self._stopped, Exception):
            raise self._stopped
        if not self._distinct:
            return np.empty((0, 0), np.float32)
        if self._vectors is None:
            raise self._error_of(0)
        if not self._has_vector.all():
            raise self._partial(self._vectors)
        if self._distinct == self.texts:
            return self._vectors
        if isinstance(self._vectors, list):  # copies: whoever changes one is to change no other
            return [self._vectors[place].copy() for place in self._places()]
        return self._vectors[self._places()]

    @cached_property
    def _times(self) -> Counter[str]:
        return Counter(self.texts)

    def _places(self) -> list[int]:
        places = {text: place for place, text in enumerate(self._distinct)}
        return [places[text] for text in self.texts]

    def _has_sent_in_vain(self) -> bool:
        # What cannot be sent at all says nothing of those who would be asked.
        sent = (not isinstance(error, ConfigurationError) for error in self._refused.values())
        return sum(sent) >= _REFUSED_FROM_THE_START

    def _stop(self, error: BaseException) -> None:
        self._stopped = self._stopped or error

    def _error_of(self, place: int) -> Exception:
        error = self._refused.get(place, self._stopped)
        return error if isinstance(error, Exception) else RuntimeError("the work is not done")

    def _partial(self, vectors: Rows) -> PartialEmbeddingError:
        results: dict[int, Vectors] = {}
        errors: dict[int, Exception] = {}
        for index, place in enumerate(self._places()):
            if self._has_vector[place]:
                results[index] = np.asarray(vectors[place], np.float32)
            else:
                errors[index] = self._error_of(place)
        return PartialEmbeddingError(results, errors)


def _room_for(count: int, vectors: Rows) -> Rows:
    """Return place for so many vectors like these."""
    if isinstance(vectors, list):
        return [[]] * count
    return np.empty((count, vectors.shape[1]), np.float32)


def is_about_the_texts(error: BaseException) -> bool:
    """Tell whether a target refused the texts, others having failed otherwise or not."""
    errors = error.exceptions if isinstance(error, AllTargetsFailedError) else (error,)
    classes = (classify(each, wall=0.0).error_class for each in errors)
    return any(error_class in _ABOUT_THE_TEXTS for error_class in classes)
