"""Reading the status, codes, message and headers that SDKs hang on their errors.

Nothing here trusts the object: a property may raise, a ``code`` may be a number, a text, an enum
or a method, a body may be parsed or not. What comes out is plain values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, Final, TypeVar

from failover_core.classify import retry_after
from failover_core.classify.text import LONGEST as LONGEST_TEXT
from failover_core.classify.types import qualified_names

_LONGEST_BODY: Final = 65_536
_LONGEST_CODE: Final = 80
_MOST_HEADERS: Final = 200
_MOST_DETAILS: Final = 8

_STATUS_RANGE: Final = range(100, 600)
_STATUS_TEXT: Final = re.compile(r"[1-5][0-9]{2}")
_STATUS_NAMES: Final = ("status_code", "http_status", "code", "status")
_CODE_NAMES: Final = ("code", "Code", "error_code", "type", "error_type", "status", "reason")
_RESPONSES: Final = ("response", "raw_response")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one exception carries besides its type.

    Attributes:
        status: the HTTP status it reports, 100 to 599.
        codes: its error codes in lower case, the most telling first.
        message: the provider's message, cut; to be searched, never shown.
        retry_after: the wait the server asks for, in seconds.
    """

    status: int | None
    codes: tuple[str, ...]
    message: str
    retry_after: float | None


def gather(error: BaseException, *, wall: float) -> Evidence:
    """Collect what an exception carries; ``wall`` is the Unix time now, in seconds."""
    parts = _quietly(lambda: tuple(filter(_is_given, _parts(error))), (error,))
    return Evidence(
        status=_quietly(lambda: _status(error, parts), None),
        codes=_quietly(lambda: tuple(dict.fromkeys(_codes(error, parts))), ()),
        message=_quietly(lambda: _message(error, parts), ""),
        retry_after=_quietly(lambda: _retry_after(error, parts, wall), None),
    )


def _quietly(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except Exception:  # noqa: BLE001 - a foreign property or method may raise anything
        return default


def _get(source: Any, name: str) -> Any:
    """Return an item of a mapping or an attribute of anything else; None if there is none."""
    if source is None:
        return None
    try:
        return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
    except Exception:  # noqa: BLE001 - as above
        return None


def _is_given(part: Any) -> bool:
    return part is not None


def _path(source: Any, *names: str) -> Any:
    for name in names:
        source = _get(source, name)
    return source


# --- status ---------------------------------------------------------------------------------


def _status(error: BaseException, parts: Iterable[Any]) -> int | None:
    """Return the first number that is a status: the error's own, its response's, its body's."""
    candidates = [_get(error, name) for name in _STATUS_NAMES]
    for response in (_get(error, name) for name in _RESPONSES):
        candidates += [_get(response, "status_code"), _get(response, "status")]
        candidates.append(_path(response, "ResponseMetadata", "HTTPStatusCode"))
    candidates += [_get(part, "code") for part in parts]
    return next((int(value) for value in candidates if _is_status(value)), None)


def _is_status(value: Any) -> bool:
    if isinstance(value, str):
        return _STATUS_TEXT.fullmatch(value) is not None
    return isinstance(value, int) and value in _STATUS_RANGE


# --- parts of the error that may hold codes and messages -------------------------------------


def _parts(error: BaseException) -> Iterator[Any]:
    """Yield the innermost error objects first: their codes say the most."""
    body = _body(error)
    inner = [_get(body, "error"), _get(error, "error"), _path(error, "response", "Error")]
    for part in inner:
        yield from (_get(part, "innererror"), _get(part, "details"), part)
    yield from _details(_path(body, "error", "details"))
    yield from _details(_get(body, "detail"))
    yield from (body, error)


def _details(value: Any) -> Iterator[Any]:
    """Yield the entries of a list of details (FastAPI's ``detail``, Google's ``details``)."""
    if isinstance(value, list):
        yield from value[:_MOST_DETAILS]


def _body(error: BaseException) -> Any:
    """Return the answer's body as parsed JSON, without reading from the network."""
    # ``_content`` holds what httpx and requests have read already; their public properties
    # would read the rest of an open stream or raise.
    raw = [_get(error, "body"), _get(error, "details")]
    raw += [_path(error, name, "_content") for name in _RESPONSES]
    return next((parsed for value in raw if (parsed := _parsed(value)) is not None), None)


def _parsed(value: Any) -> Any:
    if isinstance(value, str | bytes):
        value = _quietly(lambda: json.loads(value), None) if len(value) <= _LONGEST_BODY else None
    if isinstance(value, list) and value:
        value = value[0]
    return value if isinstance(value, Mapping) else None


# --- codes ----------------------------------------------------------------------------------


def _codes(error: BaseException, parts: Iterable[Any]) -> Iterator[str]:
    if (rpc := _rpc_call(error, "code")) is not None:
        yield from _code(rpc)
    for part in parts:
        for name in _CODE_NAMES:
            yield from _code(_get(part, name))
        yield from _code(_get(part, "error"))


def _code(value: Any) -> Iterator[str]:
    if isinstance(value, Enum):
        value = value.name
    if isinstance(value, str) and len(value) <= _LONGEST_CODE:
        yield str(value).lower()


def _rpc_call(error: BaseException, method: str) -> Any:
    """Return what a gRPC error's method answers; foreign methods are not called."""
    if "grpc.RpcError" not in qualified_names(error):
        return None
    return _quietly(lambda: getattr(error, method)(), None)  # noqa: PLW0108 - may raise itself


# --- message --------------------------------------------------------------------------------


def _message(error: BaseException, parts: Iterable[Any]) -> str:
    """Return the provider's message: a whole body may echo the user's own words."""
    names = ("message", "Message", "msg", "error", "detail")
    found = (_get(part, name) for part in parts for name in names)
    texts = (text for text in found if isinstance(text, str) and text)
    text = next(texts, None) or _rpc_call(error, "details") or str(error)
    return str(text[:LONGEST_TEXT])


# --- Retry-After ----------------------------------------------------------------------------


def _retry_after(error: BaseException, parts: Iterable[Any], wall: float) -> float | None:
    if (own := retry_after.from_value(_get(error, "retry_after"), wall=wall)) is not None:
        return own
    for source in filter(_is_given, _header_sources(error)):
        if (wait := retry_after.from_headers(_lower_headers(source), wall=wall)) is not None:
            return wait
    delays = (retry_after.from_value(_get(part, "retryDelay"), wall=wall) for part in parts)
    return next((delay for delay in delays if delay is not None), None)


def _header_sources(error: BaseException) -> Iterator[Any]:
    yield _get(error, "headers")
    for name in _RESPONSES:
        yield _path(error, name, "headers")
    yield _path(error, "response", "ResponseMetadata", "HTTPHeaders")
    # As pairs: the mapping that gRPC's asyncio side offers has lists for values.
    yield _quietly(lambda: tuple(_rpc_call(error, "trailing_metadata") or ()), ())


def _lower_headers(source: Any) -> dict[str, Any]:
    """Return headers, or gRPC metadata, as a dict with lower-case names."""

    def read() -> dict[str, Any]:
        pairs = source.items() if hasattr(source, "items") else source
        return {
            name.lower(): value.decode() if isinstance(value, bytes) else value
            for name, value in islice(pairs or (), _MOST_HEADERS)
        }

    return _quietly(read, {})
