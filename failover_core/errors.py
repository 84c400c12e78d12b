"""Every error this library raises, and the classes it sorts other libraries' errors into.

FailoverError
├── ConfigurationError              a setting, target or URL is wrong; nothing was sent
├── TargetError                     one attempt at one target failed
│   ├── AttemptTimeoutError         no answer within the attempt's time
│   ├── ResponseStatusError         the server answered with an error status
│   ├── MalformedResponseError      the server answered 200 with something unusable
│   ├── SpaceMismatchError          its vectors do not belong to the pool's vector space
│   ├── BrokenStreamError           a stream ended or fell silent before its end
│   ├── UnsupportedError             the call needs what the target does not have
│   └── UnavailableError            the target was not tried (disabled, or no time was left)
├── AllTargetsFailedError           no target could serve the call (an ExceptionGroup)
│   └── EmbeddingSpaceMismatchError only targets of another vector space could have served it
├── PartialEmbeddingError           some texts have no vector; it holds all other vectors
└── OutOfStepError                  some of the stores that are kept alike lack changes

None of them derives from RuntimeError: LlamaIndex's ``asyncio_run`` would report it as a
nested event loop. ConfigurationError is no ValueError, so that pydantic lets it out unwrapped.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Self


class ErrorClass(StrEnum):
    """What an error says about the target, the request, or neither."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    MALFORMED = "malformed"
    THROTTLED = "throttled"
    QUOTA = "quota"
    AUTH = "auth"
    MODEL_NOT_FOUND = "model_not_found"
    INVALID_REQUEST = "invalid_request"
    INPUT_TOO_LARGE = "input_too_large"
    CONTENT_SAFETY = "content_safety"
    UNSUPPORTED = "unsupported"
    SPACE_MISMATCH = "space_mismatch"
    UNKNOWN = "unknown"
    NEUTRAL = "neutral"


class FailoverError(Exception):
    """Base of every error of this library."""


class ConfigurationError(FailoverError):
    """A setting, a target or a URL cannot be used; the message names it and the remedy."""


class TargetError(FailoverError):
    """One attempt at one target failed."""

    error_class: ErrorClass = ErrorClass.UNKNOWN


class AttemptTimeoutError(TargetError, TimeoutError):
    """The target gave no (further) answer within the time its attempt had."""

    error_class = ErrorClass.TIMEOUT


class ResponseStatusError(TargetError):
    """The server answered with an error status.

    Attributes:
        status_code: the HTTP status, or the status an error object inside a 200 stands for.
        code: the error code field of the body (``insufficient_quota``, …), if it had one.
        retry_after: the ``Retry-After`` header as it came, if there was one.
        is_loading: whether the server said that it is still loading its model or starting.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        code: str | None = None,
        retry_after: str | None = None,
        is_loading: bool = False,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.retry_after = retry_after
        self.is_loading = is_loading

    def __reduce__(self) -> tuple[Any, ...]:
        # The keyword-only status_code keeps the default reduce from calling __init__ right.
        return _rebuild, (type(self), self.args, self.__dict__)


class MalformedResponseError(TargetError):
    """The server answered 200 with something that cannot be used, or must not be."""

    error_class = ErrorClass.MALFORMED


class SpaceMismatchError(TargetError):
    """A target's vectors do not belong to the pool's vector space."""

    error_class = ErrorClass.SPACE_MISMATCH


class BrokenStreamError(TargetError):
    """A stream ended without its finish, or carried an error, after it had begun."""

    error_class = ErrorClass.CONNECTION


class UnsupportedError(TargetError):
    """The call needs what the target does not have: it may go on, and the target is not blamed.

    Tools that a model cannot take, say, or a schema that its answer does not keep to.
    """

    error_class = ErrorClass.UNSUPPORTED


class UnavailableError(TargetError):
    """The target was not tried: it is disabled, or no time was left for it."""


class AllTargetsFailedError(FailoverError, ExceptionGroup[Exception]):
    """No target could serve the call: one error per attempt, in order.

    Each error carries a note that names its target, attempt and class; ``__cause__`` is the
    last of them.

    Attributes:
        error_class: the class all attempts failed with, or None if they differ.
    """

    error_class: ErrorClass | None = None

    def __new__(cls, message: str, exceptions: Sequence[Exception], **_: Any) -> Self:
        """Make the group; a subclass with keywords of its own must take them out here."""
        return super().__new__(cls, message, exceptions)

    def __init__(
        self,
        message: str,
        exceptions: Sequence[Exception],
        *,
        error_class: ErrorClass | None = None,
    ) -> None:
        super().__init__(message, exceptions)
        self.error_class = error_class
        self.__cause__ = exceptions[-1]

    def derive(self, excs: Sequence[Exception]) -> AllTargetsFailedError:  # type: ignore[override]
        """Return a group of some of the errors (used by ``split`` and ``except*``)."""
        return AllTargetsFailedError(self.message, excs, error_class=self.error_class)

    def __reduce__(self) -> tuple[Any, ...]:
        errors = [_picklable(error) for error in self.exceptions]
        return _rebuild, (type(self), (self.message, errors), self.__dict__)


class EmbeddingSpaceMismatchError(AllTargetsFailedError):
    """No target of the pool's vector space could serve the call, and others must not."""


class PartialEmbeddingError(FailoverError):
    """Some texts could not be embedded; the vectors of all others are kept here.

    Attributes:
        results: the vectors that there are, by the index of their text.
        errors: what happened to the others, by the index of their text.
    """

    def __init__(self, results: Mapping[int, Any], errors: Mapping[int, Exception]) -> None:
        super().__init__()
        self.results = results
        self.errors = errors
        self.__cause__ = next(iter(errors.values()), None)

    def count_from(self, start: int) -> None:
        """Let the indices count from a text that many before the first of these."""
        self.results = {start + index: vector for index, vector in self.results.items()}
        self.errors = {start + index: error for index, error in self.errors.items()}

    def __str__(self) -> str:
        shown = some([f"texts[{index}]" for index in self.errors])
        return (
            f"{len(self.errors)} of {len(self.errors) + len(self.results)} texts could not be "
            f"embedded ({shown}); the vectors of the others are in .results and what went "
            "wrong in .errors, by index"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        errors = {index: _picklable(error) for index, error in self.errors.items()}
        return type(self), (self.results, errors)


class OutOfStepError(FailoverError):
    """Some of the stores that are to hold the same could not be changed; the others were.

    Attributes:
        lacking: by the name of a store, the ids of items that it may lack.
        surplus: by the name of a store, the ids of items that it may still have.
        errors: what went wrong, by the name of the store.
    """

    def __init__(
        self,
        lacking: Mapping[str, Sequence[str]],
        surplus: Mapping[str, Sequence[str]],
        errors: Mapping[str, Exception],
    ) -> None:
        super().__init__()
        self.lacking = lacking
        self.surplus = surplus
        self.errors = errors
        self.__cause__ = next(iter(errors.values()), None)

    def __str__(self) -> str:
        behind = [
            f"{name!r} {what} {some([repr(one) for one in ids])}"
            for what, stores in (("lacks", self.lacking), ("still has", self.surplus))
            for name, ids in stores.items()
        ]
        return f"{'; '.join(behind)}: call repair() when the store is back, or change it again"

    def __reduce__(self) -> tuple[Any, ...]:
        errors = {name: _picklable(error) for name, error in self.errors.items()}
        return type(self), (self.lacking, self.surplus, errors)


_SHOWN = 5
"""Texts, or ids, that a message names."""


def some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _rebuild(cls: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    if isinstance(error, AllTargetsFailedError):
        error.__cause__ = error.exceptions[-1]
    return error


def _picklable(error: Exception) -> Exception:
    """Return the error, or a stand-in with its name and notes if it would not survive a pickle.

    Vendors' errors often hold a response or demand keywords and fail only when unpickled.
    """
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes, made on this line
    except Exception:  # noqa: BLE001 - a foreign __reduce__ may raise anything
        stand_in = TargetError(f"{type(error).__name__} (could not be pickled)")
        for note in getattr(error, "__notes__", ()):
            stand_in.add_note(note)
        return stand_in
    return error
