"""Faults within a list of results: vectors and ranks that a careless client would believe."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from failover_core.testing.faults.base import Fault
from failover_core.testing.framing import Reply

Items = list[dict[str, Any]]

_LISTS = {"list": "data", "rerank": "results"}


@dataclass(frozen=True, slots=True)
class _ListFault(Fault):
    """Spoils the items of an answer with vectors or with ranks.

    Where a vendor lists vectors without an ``index``, a fault of the index has no effect.
    """

    def spoil(self, reply: Reply) -> Reply:
        """Return the answer with its items spoilt; any other answer as it is."""
        payload = reply.payload
        kind = payload.get("object") if isinstance(payload, dict) else None
        key = _LISTS.get(str(kind))
        if key is None or not payload[key]:
            return reply
        return replace(reply, payload={**payload, key: self.items(payload[key])})

    def items(self, items: Items) -> Items:
        """Return the items, spoilt."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class WrongCount(_ListFault):
    """``by`` results too many, or too few if negative."""

    by: int = -1

    def items(self, items: Items) -> Items:
        """Drop results from the end, or repeat the last."""
        return items[: self.by] if self.by < 0 else items + items[-1:] * self.by


@dataclass(frozen=True, slots=True)
class Shuffled(_ListFault):
    """Results in reverse order, each with its right ``index``: valid, if the client looks."""

    def items(self, items: Items) -> Items:
        """Turn the order round."""
        return items[::-1]


@dataclass(frozen=True, slots=True)
class DuplicateIndex(_ListFault):
    """Every result claims the ``index`` of the first."""

    def items(self, items: Items) -> Items:
        """Repeat the first index."""
        return [{**item, "index": items[0]["index"]} for item in items]


@dataclass(frozen=True, slots=True)
class IndexOutOfRange(_ListFault):
    """The last result has an ``index`` that no input has."""

    index: int = 9999

    def items(self, items: Items) -> Items:
        """Give the last result the impossible index."""
        return [*items[:-1], {**items[-1], "index": self.index}]


@dataclass(frozen=True, slots=True)
class NotFinite(_ListFault):
    """NaN in the last vector or score.

    In base64 it is a real NaN; in JSON it is ``null``, which is what fast encoders write, or
    with ``literal`` the token ``NaN`` that Python's own encoder writes and strict ones refuse.
    """

    literal: bool = False

    def spoil(self, reply: Reply) -> Reply:
        """Return the answer with NaN in it."""
        spoilt = _ListFault.spoil(self, reply)
        if not self.literal:
            return spoilt
        text = json.dumps(spoilt.shaped(), default=np.ndarray.tolist)
        return replace(spoilt, payload=text.encode(), shape=None)

    def items(self, items: Items) -> Items:
        """Put NaN where the last number should be."""
        return _with_last(items, _not_a_number, score=float("nan"))


@dataclass(frozen=True, slots=True)
class RaggedDimensions(_ListFault):
    """The last vector is one number shorter than the others."""

    def items(self, items: Items) -> Items:
        """Shorten the last vector."""
        return _with_last(items, lambda vector: vector[:-1])


@dataclass(frozen=True, slots=True)
class WrongDimension(_ListFault):
    """All vectors have ``dimension`` numbers."""

    dimension: int = 8

    def items(self, items: Items) -> Items:
        """Cut or repeat every vector to the dimension."""
        return _with_all(items, lambda vector: np.resize(vector, self.dimension))


@dataclass(frozen=True, slots=True)
class OtherModel(_ListFault):
    """All vectors are those of another model of the same dimension: nothing else tells."""

    def items(self, items: Items) -> Items:
        """Turn the numbers of every vector round."""
        return _with_all(items, lambda vector: vector[::-1].copy())


@dataclass(frozen=True, slots=True)
class ZeroVectors(_ListFault):
    """All vectors are zero."""

    def items(self, items: Items) -> Items:
        """Zero every vector."""
        return _with_all(items, np.zeros_like)


@dataclass(frozen=True, slots=True)
class EmptyVectors(_ListFault):
    """All vectors have no numbers at all."""

    def items(self, items: Items) -> Items:
        """Empty every vector."""
        return _with_all(items, lambda vector: vector[:0])


def _with_last(items: Items, change: Callable[[Any], Any], score: float | None = None) -> Items:
    last = dict(items[-1])
    if "embedding" in last:
        last["embedding"] = change(last["embedding"])
    elif score is not None:
        last["relevance_score"] = score
    return [*items[:-1], last]


def _with_all(items: Items, change: Callable[[Any], Any]) -> Items:
    if "embedding" not in items[0]:
        return items
    return [{**item, "embedding": change(item["embedding"])} for item in items]


def _not_a_number(vector: Any) -> Any:
    spoilt = vector.copy()
    spoilt[-1] = np.nan
    return spoilt
