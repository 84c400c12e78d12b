"""Scores made comparable: the sigmoid, and one that is fitted to labelled scores."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from failover_core import ConfigurationError
from failover_core.reranking import Calibration


def test_the_default_is_the_sigmoid() -> None:
    sigmoid = Calibration()
    assert sigmoid(0) == 0.5
    assert sigmoid(2) == pytest.approx(1 / (1 + math.exp(-2)))
    assert sigmoid(-2) == pytest.approx(1 - sigmoid(2))


@pytest.mark.parametrize("score", [-1e308, -800.0, 800.0, 1e308])
def test_no_score_is_too_extreme(score: float) -> None:
    steep = Calibration(slope=10.0)
    assert steep(score) == (score > 0)


@pytest.mark.parametrize("numbers", [(0, 0), (-1, 0), (math.nan, 0), (math.inf, 0), (1, math.nan)])
def test_numbers_that_would_not_keep_the_order_are_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(ConfigurationError, match="the slope above zero"):
        Calibration(*numbers)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.02, -3.0), (400.0, -200.0)])
def test_a_fit_finds_the_numbers_that_drew_the_labels(
    seed: int, slope: float, intercept: float
) -> None:
    dice, true = random.Random(seed), Calibration(slope, intercept)
    logits = [dice.uniform(-4, 4) for _ in range(4000)]
    scores = [(logit - intercept) / slope for logit in logits]

    found = Calibration.fit(scores, [dice.random() < true(score) for score in scores])

    assert found.slope == pytest.approx(slope, rel=0.15), f"seed {seed}"
    for logit in (-2, 0, 2):
        score = (logit - intercept) / slope
        assert found(score) == pytest.approx(true(score), abs=0.04), f"seed {seed}"


def test_a_fit_makes_thresholds_of_two_models_alike() -> None:
    dice = random.Random(7)
    relevant = [dice.random() < 0.3 for _ in range(2000)]
    logits = [(2.0 if one else -2.0) + dice.gauss(0, 1.5) for one in relevant]
    cosines = [0.5 + logit / 40 for logit in logits]

    of_logits = Calibration.fit(logits, relevant)
    of_cosines = Calibration.fit(cosines, [int(one) for one in relevant])

    for logit, cosine in zip(logits, cosines, strict=True):
        assert of_logits(logit) == pytest.approx(of_cosines(cosine), abs=1e-6)


def test_labels_that_the_scores_tell_apart_give_no_certainty() -> None:
    found = Calibration.fit([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1])
    assert 0.6 < found(0.9) < 0.9
    assert 0.1 < found(0.1) < 0.4


@pytest.mark.parametrize(
    ("scores", "labels", "problem"),
    [
        ([1.0, 2.0], [1], r"shape \(2,\), labels \(1,\)"),
        ([], [], "others"),
        ([1.0, math.nan], [0, 1], "not finite"),
        ([1.0, 2.0], [0, 2], "neither true nor false"),
        ([1.0, 2.0], [1, 1], "and others"),
        ([1.0, 1.0], [0, 1], "all scores are equal"),
        ([1.0, 2.0, 3.0], [1, 1, 0], "do not have better scores"),
    ],
)
def test_what_cannot_be_fitted_is_named(scores: Any, labels: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        Calibration.fit(scores, labels)
