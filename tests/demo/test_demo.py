"""The demo: it plays to its end, and it would say so if something were lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from demo.app import Answer, StoredVectors
from demo.corpus import passages
from demo.questions import QUESTIONS
from demo.score import Result, Score, wrong_vectors
from demo.servers import Fleet
from failover_core.testing import FaultServer
from failover_core.testing.language import embed

ROOT = Path(__file__).parents[2]
QUESTION = QUESTIONS[0]
RIGHT = Answer("When it is exhausted, the else clause runs.", (QUESTION.topic, "while", "break"))


def test_the_demo_loses_nothing_and_prints_plain_text_into_a_log() -> None:
    command = [sys.executable, "-m", "demo", "--questions", "1"]
    done = subprocess.run(  # noqa: S603 - our own module
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "lost 0 of 16"
    assert "\x1b" not in done.stdout
    assert "alpha → bravo (connection)" in done.stdout
    assert "small index → large index (connection)" in done.stdout


def test_when_one_server_cannot_start_none_stays() -> None:
    fleet = Fleet()
    with FaultServer() as squatter:
        fleet.charlie.port = squatter.port
        with pytest.raises(RuntimeError, match="charlie did not start"), fleet:
            pass
    assert [server.state for server in fleet] == ["killed"] * 3


def test_every_question_has_its_topic_in_the_corpus() -> None:
    topics = {passage.topic for passage in passages()}
    assert {question.topic for question in QUESTIONS} <= topics


def test_no_paragraph_is_in_two_passages() -> None:
    paragraphs = [part for passage in passages() for part in passage.text.split("\n\n")]
    assert len(paragraphs) == len(set(paragraphs))


@pytest.mark.parametrize(
    "outcome",
    [
        RuntimeError("every target failed"),
        Answer(" ", RIGHT.topics),
        Answer(RIGHT.text, RIGHT.topics[:2]),
    ],
    ids=["an error", "an empty answer", "too few passages"],
)
def test_a_question_is_lost_by(outcome: Answer | Exception) -> None:
    score = Score([Result.of("app", QUESTION, outcome)])
    assert (score.lost, score.right, score.passed) == (1, 0, False)


def test_an_answer_from_another_topic_is_not_lost_but_not_right() -> None:
    wrong = Answer(RIGHT.text, ("import", "dict", "raise"))
    score = Score([Result.of("app", QUESTION, wrong)])
    assert (score.lost, score.right, score.passed) == (0, 0, False)


def test_the_demo_passes_when_most_answers_are_right_and_fails_for_one_wrong_vector() -> None:
    results = [Result.of("app", QUESTION, RIGHT)]
    assert Score(results).passed
    assert not Score(results, wrong_vectors=1).passed


def test_a_vector_that_the_server_did_not_compute_is_found() -> None:
    texts = ["one", "two", "three"]
    vectors = embed(texts, "model", 384).astype(np.float64)
    vectors[1, 7] += 1e-6
    with FaultServer() as server:
        assert wrong_vectors(StoredVectors("model", texts, vectors), server.url) == 1
        assert wrong_vectors(StoredVectors("model", texts, vectors[:2]), server.url) == 3
