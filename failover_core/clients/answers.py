"""From the JSON of a server to vectors and scores, trusting nothing in it."""

from __future__ import annotations

import binascii
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from failover_core.clients.descriptions import whole
from failover_core.errors import MalformedResponseError
from failover_core.reranking import RankedDocument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

LITTLE_FLOAT = np.dtype("<f4")

_TOKENS = (
    ("usage", "total_tokens"),
    ("usage", "prompt_tokens"),
    ("meta", "billed_units", "input_tokens"),
    ("meta", "tokens", "input_tokens"),
    ("prompt_eval_count",),
)
_LONGEST_COUNT = 15


def decode(body: bytes) -> Any:
    """Return the JSON of a body.

    Raises:
        MalformedResponseError: it is not JSON.
    """
    # Not chained: the decoder's error holds the whole answer.
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(body)
    message = f"the answer of {len(body)} bytes is not JSON"
    raise MalformedResponseError(message)


def tokens(document: Any, headers: Mapping[str, str]) -> int:
    """Return the input tokens that an answer was charged for, 0 if it does not say."""
    for path in _TOKENS:
        found = document
        for field in path:
            found = field_of(found, field)
        if (number := whole(found)) is not None:
            return number
    text = headers.get("x-compute-tokens", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _LONGEST_COUNT else 0


def field_of(document: Any, field: str | None) -> Any:
    """Return a field of an object, or the document itself; None if it is no object."""
    if field is None:
        return document
    return document.get(field) if isinstance(document, dict) else None


def items(document: Any, field: str | None) -> list[dict[str, Any]]:
    """Return a list of objects from a field of an object, or the document if it is the list."""
    found = field_of(document, field)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        where = f" in {field!r}" if field else ""
        message = f"the answer has no list of objects{where}"
        raise MalformedResponseError(message)
    return found


def indexed_vectors(document: Any, count: int) -> list[Any]:
    """Return the vectors of OpenAI's answer, put in the order of their ``index``."""
    found: list[dict[str, Any]] = counted(items(document, "data"), count)
    by_index = dict(zip(_indices(found, count), found, strict=True))
    return [by_index[index].get("embedding") for index in range(count)]


def listed_vectors(document: Any, count: int, field: str | None = None) -> list[Any]:
    """Return the vectors of an answer that lists nothing else, in a field or by itself."""
    return counted(field_of(document, field), count)


def counted(found: Any, count: int) -> list[Any]:
    """Return a list that has one item for each of ``count`` inputs."""
    number = len(found) if isinstance(found, list) else 0
    if number != count:
        message = f"the answer has {number} items for {count} inputs"
        raise MalformedResponseError(message)
    return found  # type: ignore[no-any-return]  # a list: count is never 0


def matrix(vectors: Sequence[Any]) -> NDArray[np.float32]:
    """Return vectors (lists of numbers, or base64 of little-endian float32) as ``(n, dim)``."""
    rows = [_vector(vector) for vector in vectors]
    size = len(rows[0])
    if not size or size % LITTLE_FLOAT.itemsize or any(len(row) != size for row in rows):
        message = "the answer's vectors are empty, torn, or differ in dimension"
        raise MalformedResponseError(message)
    # Joined at once, in memory that may be written to.
    joined = np.frombuffer(bytearray().join(rows), LITTLE_FLOAT).reshape(len(rows), -1)
    if not np.isfinite(joined).all():
        message = "the answer's vectors hold numbers that are not finite"
        raise MalformedResponseError(message)
    return joined


def ranking(
    found: Sequence[dict[str, Any]], score: str, count: int, top_n: int | None
) -> list[RankedDocument]:
    """Return the ``top_n`` best of ``count`` documents, equal ones in the order of the request."""
    wanted = count if top_n is None else min(top_n, count)
    if len(found) < wanted:
        message = f"the answer ranks {len(found)} of {wanted} documents"
        raise MalformedResponseError(message)
    scores = [_number(item.get(score)) for item in found]
    ranked = map(RankedDocument, _indices(found, count), scores)
    return sorted(ranked, key=lambda document: (-document.score, document.index))[:wanted]


def _indices(found: Iterable[dict[str, Any]], count: int) -> list[int]:
    indices = [item.get("index") for item in found]
    if not all(type(index) is int and 0 <= index < count for index in indices):
        message = f"the answer has an index outside 0 to {count - 1}"
        raise MalformedResponseError(message)
    if len(set(indices)) != len(indices):
        message = "the answer has an index twice"
        raise MalformedResponseError(message)
    return indices  # type: ignore[return-value]  # all() above has checked each


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        message = "the answer has a score that is not a finite number"
        raise MalformedResponseError(message)
    return float(value)


def _vector(value: Any) -> bytes:
    """Return a vector as little-endian float32."""
    try:
        if isinstance(value, str):
            return binascii.a2b_base64(value, strict_mode=True)
        numbers = np.array(value)
    except ValueError:
        message = "the answer has a vector that cannot be read"
        raise MalformedResponseError(message) from None
    if numbers.ndim != 1 or numbers.dtype.kind not in "fiu":
        message = "the answer has a vector that is not a list of numbers"
        raise MalformedResponseError(message)
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as such
        return numbers.astype(LITTLE_FLOAT).tobytes()
