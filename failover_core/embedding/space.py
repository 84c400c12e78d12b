"""Embedding spaces: what tells the vectors of one model from those of another.

Two models, or one model with another prefix, prompt or normalisation, embed one text to two
different vectors. So a known text, the *canary*, tells a space: a target belongs to it if it
embeds the canary to the same vector, for each kind of text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from failover_core.embedding.protocol import Kind
from failover_core.errors import ConfigurationError

CANARY = "The harbour pilot counted 7 grey herons."
"""Short, with capitals, digits and rare words: what models and their tokenisers treat apart."""

_FORMAT = 1
_DIGITS = 9
"""Significant digits of a component on disk: as many as tell any two float32 apart."""


@dataclass(frozen=True, eq=False)
class EmbeddingSpace:
    """What is known of a vector space.

    Attributes:
        model: name of the model, if it is known.
        dimension: of its vectors, if it is known.
        fingerprint: the canary's vector for each kind of text that was embedded yet, float32.
    """

    model: str | None = None
    dimension: int | None = None
    fingerprint: Mapping[Kind, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dimension is not None and self.dimension < 1:
            message = f"dimension is {self.dimension}; it must be 1 or more"
            raise ConfigurationError(message)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def save(self, path: str | Path) -> None:
        """Write it to a file (JSON), best beside the index whose vectors are of this space."""
        vectors = {str(kind): _written(vector) for kind, vector in self.fingerprint.items()}
        document = {
            "format": _FORMAT,
            "canary": CANARY,
            "model": self.model,
            "dimension": self.dimension,
            "fingerprint": vectors,
        }
        Path(path).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ConfigurationError: there is no such file, or it holds something else.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls._read(document)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            message = f"EmbeddingSpace.load: {path} cannot be read as a saved space: {error!r}"
            raise ConfigurationError(message) from error

    @classmethod
    def _read(cls, document: Mapping[str, Any]) -> Self:
        known = (document["format"], document["canary"])
        if known != (_FORMAT, CANARY):
            message = "it was saved by a version with another canary; save the space anew"
            raise ValueError(message)
        fingerprint = {
            Kind(kind): np.asarray(vector, np.float32)
            for kind, vector in document["fingerprint"].items()
        }
        dimension = document["dimension"]
        if any(vector.shape != (dimension,) for vector in fingerprint.values()):
            message = "its vectors are not of its dimension"
            raise ValueError(message)
        return cls(document["model"], dimension, fingerprint)


def known_space(given: EmbeddingSpace | str | Path | None, dimension: int | None) -> EmbeddingSpace:
    """Return what a user knows of a space: a saved one, its file, a dimension, or nothing.

    Raises:
        ConfigurationError: the file cannot be read, or the dimension is another one.
    """
    if isinstance(given, str | Path):
        given = EmbeddingSpace.load(given)
    space = given or EmbeddingSpace()
    if dimension is None or dimension == space.dimension:
        return space
    if space.dimension is None:
        return replace(space, dimension=dimension)
    message = (
        f"dimension is {dimension}, and that of the saved space is {space.dimension}; they are of "
        "two models: leave dimension out, or give the space of this model"
    )
    raise ConfigurationError(message)


def _written(vector: NDArray[np.float32]) -> list[float]:
    return [float(f"{component:.{_DIGITS}g}") for component in vector.tolist()]


def distance(vector: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return how far a vector is from a reference: ``max(1 - cosine, |1 - ratio of lengths|)``.

    0 for the same vector. The lengths tell whether one of them is not normalised.
    """
    length, wanted = float(np.linalg.norm(vector)), float(np.linalg.norm(reference))
    if not length or not wanted:
        return float(length != wanted)
    cosine = float(vector.astype(np.float64) @ reference.astype(np.float64)) / (length * wanted)
    return max(1 - cosine, abs(1 - length / wanted))
