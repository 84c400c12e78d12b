"""From the scores of a model to probabilities, so that one threshold suits several models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from failover_core.errors import ConfigurationError

_STEPS = 100
_PRECISE = 1e-9
"""Of the gradient, for each pair: then it stays where it is."""

_SMALLEST = 1e-9
"""Part of a step below which a smaller one would not help."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The probability that a document is relevant, by the score of one model.

    That is ``1 / (1 + exp(-(slope * score + intercept)))``, a sigmoid as Platt fits it
    (Probabilistic Outputs for Support Vector Machines, 1999). It keeps the order of scores.

    Args:
        slope: how fast it rises; the default suits models whose scores are logits.
        intercept: its logit where the score is 0.

    Raises:
        ConfigurationError: a number is not finite, or the slope not above zero.
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.slope < math.inf and math.isfinite(self.intercept)):
            message = (
                f"Calibration: slope is {self.slope} and intercept {self.intercept}; both must be "
                "finite, and the slope above zero, or better scores would count less"
            )
            raise ConfigurationError(message)

    def __call__(self, score: float) -> float:
        """Return the probability, between 0 and 1."""
        logit = self.slope * score + self.intercept
        if logit >= 0:
            return 1.0 / (1.0 + math.exp(-logit))
        odds = math.exp(logit)
        return odds / (1.0 + odds)

    @classmethod
    def fit(cls, scores: Sequence[float], labels: Sequence[bool | int]) -> Self:
        """Return the calibration under which labelled scores are likeliest.

        Some hundred pairs of your own questions and documents will do. Labels count as Platt's
        smoothed ones, so that a model without mistakes in them is not taken for infallible; the
        search is Newton's with smaller steps where needed, after Lin, Lin and Weng (A Note on
        Platt's Probabilistic Outputs for Support Vector Machines, 2007).

        Args:
            scores: of documents, as the model gives them: shape ``(n,)``.
            labels: whether each is relevant to its query: shape ``(n,)``, of bools, 0 and 1.

        Raises:
            ConfigurationError: they differ in length, hold something else, are all of one label
                or of one score, or better scores do not go with relevance.
        """
        values, relevant = _checked(scores, labels)
        centre, width = values.mean(), values.std()
        inputs = np.column_stack([(values - centre) / width, np.ones_like(values)])
        steepness, offset = _likeliest(inputs, _smoothed(relevant))
        if steepness <= 0:
            message = "Calibration.fit: relevant documents do not have better scores than others"
            raise ConfigurationError(message)
        slope = float(steepness / width)
        return cls(slope, float(offset - slope * centre))


Numbers = NDArray[np.float64]


def _checked(scores: Any, labels: Any) -> tuple[Numbers, NDArray[np.bool_]]:
    values, marks = np.asarray(scores, np.float64), np.asarray(labels)
    problem = None
    if values.ndim != 1 or values.shape != marks.shape:
        problem = f"scores have the shape {values.shape}, labels {marks.shape}; give one of each"
    elif not np.isfinite(values).all():
        problem = "a score is not finite"
    elif not np.isin(marks, (0, 1)).all():
        problem = "a label is neither true nor false"
    elif len(set(marks.tolist())) < 2:  # noqa: PLR2004 - true and false
        problem = "relevant documents are needed, and others"
    elif not values.std():
        problem = "all scores are equal"
    if problem:
        message = f"Calibration.fit: {problem}"
        raise ConfigurationError(message)
    return values, marks.astype(np.bool_)


def _smoothed(relevant: NDArray[np.bool_]) -> Numbers:
    hits = int(relevant.sum())
    misses = len(relevant) - hits
    return np.where(relevant, (hits + 1) / (hits + 2), 1 / (misses + 2))


def _likeliest(inputs: Numbers, wanted: Numbers) -> Numbers:
    """Return the weights of inputs, shape ``(n, 2)``, that make probabilities likeliest."""
    weights = np.zeros(2)
    for _ in range(_STEPS):
        found = 1.0 / (1.0 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        gradient = inputs.T @ (found - wanted)
        if np.abs(gradient).max() < _PRECISE * len(wanted):
            break
        curvature = (inputs.T * np.maximum(found * (1 - found), 1e-12)) @ inputs
        step = np.linalg.solve(curvature, gradient)
        part, before = 1.0, _loss(inputs @ weights, wanted)
        while part > _SMALLEST and _loss(inputs @ (weights - part * step), wanted) > before:
            part /= 2
        weights = weights - part * step
    return weights


def _loss(logits: Numbers, wanted: Numbers) -> float:
    return float((np.logaddexp(0.0, logits) - wanted * logits).sum())
