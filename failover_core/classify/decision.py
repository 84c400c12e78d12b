"""From an exception to an error class.

Each error of the ``__cause__`` chain is judged alone, the outermost first: by its type, then by
its error code and status. Only if none of them decides, their texts are read, again one by one:
a message joined from several errors would mix their causes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from failover_core.classify import codes, text
from failover_core.classify.evidence import Evidence, gather
from failover_core.classify.types import class_of_type, status_of_type
from failover_core.errors import ErrorClass, FailoverError, ResponseStatusError, UnsupportedError

Verdict: TypeAlias = tuple[ErrorClass, tuple[str, ...]]
"""A class, and the facts that led to it as the summary shows them."""

_LONGEST_CHAIN: Final = 16
_SUCCESS: Final = 2
_UNAVAILABLE: Final = 503
_QUOTA_ONLY: Final = {ErrorClass.QUOTA: text.ABOUT_THE_REQUEST[ErrorClass.QUOTA]}
# Beside these statuses the words say more: what is wrong with the request, or that no wait will
# end a 429.
_WORDS_BESIDE_STATUS: Final = {
    400: text.ABOUT_THE_REQUEST,
    403: text.ABOUT_THE_REQUEST,
    409: text.ABOUT_THE_REQUEST,
    422: text.ABOUT_THE_REQUEST,
    429: _QUOTA_ONLY,
}

# Our own errors speak for themselves; in a program's mistakes the words are names from its
# source; a group's message is about several errors. None of them is a server's complaint.
_UNREAD: Final = (
    FailoverError,
    BaseExceptionGroup,
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    SyntaxError,
    TypeError,
)


@dataclass(frozen=True, slots=True)
class Classification:
    """What an error means for the next step of a call.

    Attributes:
        error_class: what to do next follows from this.
        retry_after: seconds the server asks to be left alone: above 0 and at most 300, or None
            if it did not ask or asked for something absurd.
        summary: type, HTTP status and error code for logs and events; no provider's words.
        is_loading: whether a server said that it is not ready yet, and would be.
    """

    error_class: ErrorClass
    retry_after: float | None = None
    summary: str = ""
    is_loading: bool = False


def classify(error: BaseException, *, wall: float) -> Classification:
    """Return the class of an error, whatever library raised it. Never raises.

    Args:
        error: the exception an attempt ended with.
        wall: the Unix time now, in seconds; only a ``Retry-After`` date is compared with it.
    """
    chain = [(link, gather(link, wall=wall)) for link in _chain(error)]
    waits = (evidence.retry_after for _, evidence in chain)
    wait = next((wait for wait in waits if wait is not None), None)
    for judge in (_by_structure, _by_text):
        for link, evidence in chain:
            if (verdict := judge(link, evidence)) is not None:
                error_class, facts = verdict
                is_loading = evidence.status == _UNAVAILABLE and _is_loading(link, evidence)
                summary = _summary(error, link, facts)
                return Classification(error_class, wait, summary, is_loading)
    return Classification(ErrorClass.UNKNOWN, wait, _summary(error, error, ()))


def is_neutral(error: BaseException) -> bool:
    """Return whether an error is no failure of a target: a cancellation, a used-up budget."""
    return classify(error, wall=0.0).error_class is ErrorClass.NEUTRAL


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes. A group of one stands for what it holds."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen and len(seen) < _LONGEST_CHAIN:
        seen.add(id(link))
        yield link
        link = _next(link)


def _next(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0] if len(error.exceptions) == 1 else None
    return error.__cause__


def _by_structure(error: BaseException, evidence: Evidence) -> Verdict | None:
    reported = () if evidence.status is None else (f"HTTP {evidence.status}",)
    if (by_type := class_of_type(error)) is not None:
        return by_type, reported
    if (code := codes.specific_code(evidence.codes)) is not None:
        return codes.class_of_code(code), (*reported, code)
    code = codes.generic_code(evidence.codes)
    status = evidence.status
    if status is None or status // 100 == _SUCCESS:
        status = codes.status_of_code(code) if code else status_of_type(error) or status
    found = _by_status(status, evidence) if status is not None else None
    return (found, (*reported, code) if code else reported) if found is not None else None


def _by_status(status: int, evidence: Evidence) -> ErrorClass | None:
    """Return the class of a status, which the words beside it may narrow."""
    phrases = _WORDS_BESIDE_STATUS.get(status)
    narrowed = _by_words(evidence.message, phrases) if phrases else None
    return narrowed or codes.class_of_status(status, retry_after=evidence.retry_after)


def _is_loading(error: BaseException, evidence: Evidence) -> bool:
    if isinstance(error, ResponseStatusError):  # whose server's words were read before
        return error.is_loading
    return text.says_loading(evidence.message)


def _by_words(message: str, phrases: text.Phrases) -> ErrorClass | None:
    code = codes.specific_code(text.code_words(message))
    by_code = codes.class_of_code(code) if code else None
    return by_code if by_code in phrases else text.class_of_phrase(message, phrases)


def _by_text(error: BaseException, evidence: Evidence) -> Verdict | None:
    if isinstance(error, _UNREAD):
        return None
    message = evidence.message
    status = text.status_in(message)
    if status is None and (code := codes.generic_code(text.code_words(message))):
        status = codes.status_of_code(code)
    found = _by_status(status, evidence) if status is not None else None
    found = found or _by_words(message, text.EVERYTHING)
    return (found, ()) if found is not None else None


def _summary(error: BaseException, decisive: BaseException, facts: tuple[str, ...]) -> str:
    name = type(error).__name__
    if isinstance(error, UnsupportedError):
        return f"{name}: {error}"  # its words are this library's own
    if decisive is not error:
        name = f"{name} from {type(decisive).__name__}"
    return f"{name} ({', '.join(facts)})" if facts else name
