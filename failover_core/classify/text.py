"""What the words of a message say, when nothing structured does.

A number counts only in the shape of a status, and URLs and quoted names are taken out first: a
request id, a duration, a path or a model's name is never read as an error. The text is cut
before it is searched and every pattern is bounded, so hostile messages cost linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final, TypeAlias

from failover_core.errors import ErrorClass

LONGEST: Final = 4096
"""Characters of a message that are looked at."""

_NOISE: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,9}://[^\s'\"<>]*|`[^`\n]{0,120}`", re.IGNORECASE)
_CODE_WORD: Final = re.compile(
    r"\b[A-Za-z]+(?:_[A-Za-z]+)+\b|\b[A-Z][A-Za-z]+(?:Exception|Error|Violation)\b"
)

# The words of each status, as servers and frameworks write them after the number.
_EXTRA_REASONS: Final = (
    "413 Payload Too Large",
    "413 Content Too Large",
    "422 Unprocessable Content",
    "422 Unprocessable Entity",
    "529 Site is overloaded",
)
_REASONS: Final = "|".join(
    [
        re.escape(f"{status.value} {status.phrase}")
        for status in HTTPStatus
        if status >= HTTPStatus.MULTIPLE_CHOICES
    ]
    + [re.escape(reason) for reason in _EXTRA_REASONS]
)
_STATUS_SHAPES: Final = re.compile(
    rf"""
    (?: \bHTTP (?:/[0-9](?:\.[0-9])?)? (?:[ ](?:status|error|response))? (?:[ ]code)?
        | \b(?:http[ _-]?)? status (?:[ _-]?code)?
        | \b(?:error|response)[ _-]code
        | ['"]code
      ) ['"]? \s{{0,3}} [:=]? \s{{0,3}} ['"(]?
      (?P<labelled>[1-5][0-9][0-9]) (?![-./]?\w) (?!\s?(?:ms|s|sec|seconds|tokens)\b)
    | (?<![\w./:\#-]) (?P<client>[45][0-9][0-9])[ ](?:Client|Server)[ ]Error\b
    | (?<![\w./:\#-]) (?=(?:{_REASONS})\b) (?P<reason>[3-5][0-9][0-9])
    | \btoo[ ]many[ ](?P<retried>[45][0-9][0-9])[ ]error[ ]responses
    """,
    re.IGNORECASE | re.VERBOSE,
)


_LOADING: Final = re.compile(
    r"\b(?:model|server|service|container)\b.{0,80}\b(?:loading|warming up|starting|booting)\b"
    r"|\b(?:loading|warming up|starting)\b.{0,20}\b(?:model|server)\b|\bestimated_time\b",
    re.IGNORECASE,
)


def says_loading(message: str) -> bool:
    """Return whether a server says that it is still loading its model or starting."""
    return _LOADING.search(message[:LONGEST]) is not None


Phrases: TypeAlias = Mapping[ErrorClass, str]
"""Patterns, which are compiled when the first message is searched for them: it takes a while."""


def _phrases(*alternatives: str) -> str:
    return "|".join(alternatives)


ABOUT_THE_REQUEST: Final[Phrases] = {
    ErrorClass.QUOTA: _phrases(
        r"\binsufficient (?:credit|balance|fund|quota)",
        r"\bcredit balance is too low\b",
        r"\b(?:account|payment|balance|bill)\b.{0,40}\b(?:overdue|in arrears)\b",
        r"\bpayment required\b",
        r"\bbilling\b.{0,40}\b(?:hard limit|not active|disabled|not enabled)\b",
        r"\bquota (?:exhausted|used up)\b",
    ),
    ErrorClass.AUTH: _phrases(
        r"\b(?:invalid|incorrect|missing|expired|wrong|revoked)\b.{0,30}\bapi[ _-]?key\b",
        r"\bapi[ _-]?key\b.{0,20}\b(?:not valid|invalid|incorrect|expired|revoked|missing)\b",
        # A bare "invalid token" is as often about a word of the prompt.
        r"\b(?:invalid|expired) (?:(?:api|access|auth|bearer) token|credentials)\b",
        r"\bunauthori[sz]ed\b|\bunauthenticated\b|\bauthentication (?:failed|required|error)\b",
        r"\blocation is not supported\b",
    ),
    ErrorClass.MODEL_NOT_FOUND: _phrases(
        r"\binvalid model\b(?! (?:output|response|parameter))",
        r"\bnot a valid model\b",
        r"\bmodel identifier is invalid\b",
        r"\bmodel not exist\b",
        r"\bis not supported\. supported models are\b",
        # The name stands between, if anything: what else is not found is the request's business.
        r"\bmodel(?: name| id)?[\s:=\"']{1,3}(?:[\w./:@-]{1,100}[\"']?\s{1,3})?(?:is |was )?"
        r"(?:does not exist|not found|has been decommissioned)\b",
    ),
    ErrorClass.INPUT_TOO_LARGE: _phrases(
        r"\bcontext[ _-](?:length|window|size)\b",
        r"\b(?:input|prompt|text|request|sequence|list|array|string)\b.{0,20}\bis too long\b",
        r"\btoo many (?:input )?(?:tokens|inputs|texts|documents)\b",
        r"\b(?:string|array|input|prompt) too long\b",
        r"\binput token count\b.{0,40}\bexceeds\b",
        r"\bmaximum (?:allowed batch size|number of tokens allowed|input length)\b",
        r"\bmust have less than \d{1,9} (?:tokens|characters)\b",
        r"\bmax allowed tokens per submitted batch\b|\bbatch size limit is \d",
        r"\bexceeds the model's maximum of \d{1,9} tokens\b",
        r"\blist can contain at most \d{1,9} items\b|\blarger than the largest allowed size\b",
        r"\b(?:request|payload|body|entity|input)(?: entity)?(?: is)? too large\b",
        r"\btotal number of texts must be at most\b",
    ),
    ErrorClass.CONTENT_SAFETY: _phrases(
        r"\bcontent[ _-](?:filter|management policy|policy|safety)",
        r"\b(?:prompt|input|request|content|response)\b.{0,30}\b(?:flagged|blocked|rejected)\b.{0,60}"
        r"\b(?:moderation|safety|polic(?:y|ies)|unsafe|inappropriate)\b",
        r"\brequires moderation\b.{0,20}\binput was flagged\b",
    ),
}
"""Phrases that are believed alone, and beside a status that blames the request."""

_ABOUT_THE_TARGET: Final[Phrases] = {
    ErrorClass.NEUTRAL: _phrases(r"\blocally cancelled by application\b"),
    ErrorClass.THROTTLED: _phrases(
        r"\brate[ _-]?limit", r"\btoo many requests\b", r"\bthrottl(?:ed|ing)\b"
    ),
    ErrorClass.TIMEOUT: _phrases(r"\btimed[ -]?out\b", r"\btimeout\b", r"\bdeadline exceeded\b"),
    ErrorClass.CONNECTION: _phrases(
        r"\bconnection (?:refused|reset|aborted|closed|error|failed)\b",
        r"\b(?:cannot|could not|couldn't|failed to|unable to) connect\b",
        r"\b(?:name or service not known|name resolution|getaddrinfo failed|no route to host)\b",
        r"\b(?:certificate verify failed|ssl handshake|network is unreachable)\b",
        r"\b(?:server|peer) (?:disconnected|closed connection)\b",
        r"\bincomplete (?:read|chunked read)\b",
    ),
    ErrorClass.SERVER_ERROR: _phrases(
        r"\binternal server error\b",
        r"\bbad gateway\b",
        r"\bservice (?:is )?(?:temporarily )?unavailable\b",
        r"\boverloaded\b",
    ),
}

EVERYTHING: Final[Phrases] = {**ABOUT_THE_REQUEST, **_ABOUT_THE_TARGET}
"""Phrases that are believed when a message is all there is."""


def status_in(text: str) -> int | None:
    """Return the first number in the text that has the shape of an HTTP status, or None."""
    match = _STATUS_SHAPES.search(_NOISE.sub(" ", text[:LONGEST]))
    return int(match[match.lastgroup]) if match and match.lastgroup else None


def code_words(text: str) -> Iterator[str]:
    """Yield the words that look like error codes (``rate_limit_exceeded``), in lower case."""
    return (match[0].lower() for match in _CODE_WORD.finditer(_NOISE.sub(" ", text[:LONGEST])))


def class_of_phrase(text: str, phrases: Phrases) -> ErrorClass | None:
    """Return the first class with a phrase in the text, or None."""
    plain = _NOISE.sub(" ", text[:LONGEST])
    matches = (one for one, words in phrases.items() if re.search(words, plain, re.IGNORECASE))
    return next(matches, None)
