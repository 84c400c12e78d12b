"""What a target may answer for vectors: an array, or lists of floats, which then stay lists.

A wrapped object gives lists and its framework wants lists: through an array and back they would
cost more than the rest of a call, and come out as other floats.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from failover_core.errors import MalformedResponseError

Rows = NDArray[np.float32] | list[list[float]]
"""One vector per text."""


def rows_of(answer: Any, count: int) -> Rows:
    """Return an answer, if it is ``count`` vectors of one dimension.

    Raises:
        MalformedResponseError: it is not, or a component is not finite.
    """
    lists = _finite_lists(answer, count)
    return _array(answer, count) if lists is None else lists


def lists_of(rows: Rows) -> list[list[float]]:
    """Return vectors as lists."""
    return rows if isinstance(rows, list) else rows.tolist()


def _finite_lists(answer: Any, count: int) -> list[list[float]] | None:
    """Return lists of finite floats as they are; None: only a closer look can tell."""
    if not isinstance(answer, list) or len(answer) != count:
        return None
    try:
        first = answer[0]
        is_fit = (
            isinstance(first, list)
            and isinstance(first[0], float)
            and set(map(len, answer)) == {len(first)}
            # Nothing finite can make up for a NaN or an infinity.
            and math.isfinite(sum(map(sum, answer)))
        )
    except (IndexError, TypeError):
        return None
    return answer if is_fit else None


def _array(answer: Any, count: int) -> NDArray[np.float32]:
    try:
        vectors = np.asarray(answer)
    except ValueError:  # what numpy says to rows of different lengths
        vectors = np.empty(0)
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.number):  # noqa: PLR2004
        message = "the vectors are not numbers of one dimension"
        raise MalformedResponseError(message)
    found, dimension = vectors.shape
    if found != count or not dimension:
        message = f"{found} vectors of dimension {dimension} for {count} texts"
        raise MalformedResponseError(message)
    with np.errstate(over="ignore"):
        vectors = vectors.astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        message = "a vector has a component that is not finite"
        raise MalformedResponseError(message)
    return vectors
