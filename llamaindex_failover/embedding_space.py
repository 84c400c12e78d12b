"""What the vectors of LlamaIndex's embeddings depend on, as far as their fields tell."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from enum import Enum
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding

from failover_core import ConfigurationError, Target
from llamaindex_failover.components import child_of

_DIMENSION = re.compile(r"(embed|output)_dim(ension(ality)?)?|dimension(s|ality)?")
_SHAPES_VECTORS = re.compile(
    r"normali[sz]|pooling|instruct|prefix|prompt|truncat|precision|quanti[sz]|revision|space_id"
    r"|(^|_)(mode|task|max_length)$|(input|task|text|embedding)_type$"
)
_MAY_BE_SECRET = re.compile(r"key|token|secret|passw|credential|header")
_SAME_IN_EVERY_PROCESS = (str, int, float, Enum, list, tuple, dict)


def space_id(child: Any, *, model: str | None, dimension: int | None) -> str:
    """Return a name of the space that an embedding's vectors lie in.

    The same in every process, and wherever the embedding is served; it holds no secret.

    Args:
        child: the embedding.
        model: its name. None: unknown, the class of the embedding stands for it.
        dimension: of the vectors, if it was declared.
    """
    kind = type(child).__name__ if model is None else None
    known = {"model": model, "class": kind, "dimension": dimension}
    ways = {
        field: value
        for _, field, value in _said_by(child)
        if isinstance(value, _SAME_IN_EVERY_PROCESS)
    }
    named = {**known, **ways}.items()
    return "; ".join(f"{name}={value}" for name, value in named if value is not None)


def check_one_space(targets: Iterable[Target], *, pool: str, dimension: int | None) -> None:
    """Refuse embeddings whose fields say that their vectors cannot share an index.

    Args:
        targets: of the pool; what they leave open is trusted.
        pool: its name, for the message.
        dimension: that was declared for the pool.

    Raises:
        ConfigurationError: two differ in dimension, or two of one class in anything else that
            their vectors depend on.
    """
    known: dict[Hashable, tuple[str, Any]] = {}
    if dimension is not None:
        known[_DIMENSION] = (f"dimension={dimension} was declared", dimension)
    for target in targets:
        for what, field, value in _said_by(child_of(target)):
            has = f"target {target.name!r} has {field}={value!r}"
            before, expected = known.setdefault(what, (has, value))
            if value != expected:
                message = (
                    f"pool {pool!r}: {before}, but {has}, and such vectors cannot share an index; "
                    "make the two equal, or pair each embedding with its own index under a "
                    "FailoverRetriever"
                )
                raise ConfigurationError(message)


def _said_by(child: Any) -> Iterator[tuple[Hashable, str, Any]]:
    """Yield what an embedding says of its vectors: with whose it compares, field and value."""
    if not isinstance(child, BaseEmbedding):
        return
    kind = type(child)
    for field in (*kind.model_fields, *kind.model_computed_fields):
        if _DIMENSION.fullmatch(field):
            if (dimension := getattr(child, field)) is not None:
                yield _DIMENSION, field, dimension
        elif _SHAPES_VECTORS.search(field) and not _MAY_BE_SECRET.search(field):
            yield (kind, field), field, getattr(child, field, None)
