"""From a server's complaint to an error that carries its facts and none of its words.

Servers quote what they were sent: the texts, sometimes the key. So their words are read once,
for the class of the error, and then forgotten.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

from failover_core.classify import classify
from failover_core.classify.text import says_loading
from failover_core.errors import ErrorClass, ResponseStatusError

_WORD = re.compile(r"[A-Za-z][\w.:-]{0,63}")
_RETRY_AFTER = re.compile(r"[\w ,:+.-]{1,40}")
_ERROR_STATUSES = range(400, 600)
_REDIRECTS = range(300, 400)
_INTERNAL = 500


def complaint(
    name: str,
    where: str,
    status: int,
    document: Any,
    *,
    retry_after: str | None = None,
    secret: str | None = None,
) -> ResponseStatusError:
    """Return the error for an answer that is one.

    Args:
        name: the client's name, for the message.
        where: path of the request, for the message.
        status: HTTP status of the answer; a success if its body is the complaint.
        document: JSON of the body, None if it is none.
        retry_after: the header as it came.
        secret: text that must not come back in a code.
    """
    parts = list(_parts(document))
    if status not in _ERROR_STATUSES and status not in _REDIRECTS:
        status = next(filter(None, map(_status, parts)), _INTERNAL)
    codes = (code for part in parts for code in _codes(part))
    code = next((code for code in codes if not (secret and secret in code)), None)
    if retry_after and not _RETRY_AFTER.fullmatch(retry_after):
        retry_after = None
    hint = "; redirects are not followed, set the final URL" if status in _REDIRECTS else ""
    message = f"{name} answered {where} with HTTP {status}{f' ({code})' if code else ''}{hint}"
    words = " ".join(text for part in parts for text in _texts(part))
    error = ResponseStatusError(
        message,
        status_code=status,
        code=code,
        retry_after=retry_after,
        is_loading=says_loading(words),
    )
    error.error_class = _class(error, words)
    return error


def _class(error: ResponseStatusError, words: str) -> ErrorClass:
    """Return the class of an error that is known to come with these words."""
    worded = ResponseStatusError(
        words, status_code=error.status_code, code=error.code, retry_after=error.retry_after
    )
    return classify(worded, wall=time.time()).error_class


def _parts(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects that may describe the error, the most telling first.

    OpenAI and its kind send ``{"error": {…}}``, TEI and vLLM ``{"error": "…"}`` or the fields
    alone, FastAPI ``{"detail": "…"}`` or a list of what is wrong with the request.
    """
    if not isinstance(document, dict):
        return
    for nested in (document.get("error"), document.get("detail")):
        candidates = nested if isinstance(nested, list) else [nested]
        yield from (part for part in candidates[:8] if isinstance(part, dict))
    yield document


def _codes(part: dict[str, Any]) -> Iterator[str]:
    for field in ("code", "error_type", "type"):
        value = part.get(field)
        if isinstance(value, str) and _WORD.fullmatch(value):
            yield value


def _texts(part: dict[str, Any]) -> Iterator[str]:
    for field in ("message", "msg", "error", "detail"):
        if isinstance(value := part.get(field), str):
            yield value


def _status(part: dict[str, Any]) -> int | None:
    for field in ("status", "status_code", "code"):
        value = part.get(field)
        if type(value) is int and value in _ERROR_STATUSES:
            return value
    return None
