"""Where a new answer goes on from what a broken stream has sent."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover_core.resuming import TEXT, ContinuationError, Splice, Transcript

SENT = "The quick brown fox jumps"
ANSWER = "The quick brown fox jumps over the lazy dog."


def continued(sent: str, answer: Iterable[str], *, prefilled: bool = False) -> str:
    """Return what the caller has after a break and the new answer."""
    transcript = Transcript(TEXT)
    transcript.feed(sent)
    splice = Splice(transcript, prefilled=prefilled)
    released = [new for chunk in answer for new in splice.feed(chunk)] + splice.end()
    assert transcript.text == sent + "".join(released)
    return transcript.text


def pieces(text: str, cuts: Iterable[int]) -> list[str]:
    """Return a text in pieces, some of them empty perhaps."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[begin:end] for begin, end in pairwise(places)]


texts = st.text("ab \n é🙂\u0301", max_size=40) | st.text(max_size=40)
places = st.lists(st.integers(0, 1_000), max_size=8)


@given(texts, st.integers(0, 1_000), places)
def test_a_repeated_answer_is_whole_wherever_it_broke_and_however_it_is_cut(
    answer: str, broke: int, cuts: list[int]
) -> None:
    sent = answer[: broke % (len(answer) + 1)]
    assert continued(sent, pieces(answer, cuts)) == answer


@given(texts, st.integers(0, 1_000), places)
def test_a_prefilled_answer_is_whole_too(answer: str, broke: int, cuts: list[int]) -> None:
    sent = answer[: broke % (len(answer) + 1)]
    given_text = sent.rstrip()
    reply = answer[len(given_text) :]
    if not given_text or reply.lstrip().startswith(given_text.strip()):
        return  # nothing to prefill; or nobody could tell
    assert continued(sent, pieces(reply, cuts), prefilled=True) == answer


@given(st.text(max_size=30), st.integers(0, 1_000), places)
def test_so_is_one_whose_server_repeats_the_prefill(end: str, broke: int, cuts: list[int]) -> None:
    answer = SENT + end
    sent = answer[: len(SENT) + broke % (len(end) + 1)]
    assert continued(sent, pieces(answer, cuts), prefilled=True) == answer


@given(st.text(min_size=1, max_size=30), st.text(max_size=30), places)
def test_no_word_is_ever_doubled_or_lost_or_from_two_answers(
    sent: str, answer: str, cuts: list[int]
) -> None:
    try:
        whole = continued(sent, pieces(answer, cuts))
    except ContinuationError:
        assert not answer.startswith(sent)
    else:
        assert whole.split() == answer.split()


@pytest.mark.parametrize("answer", ["The quick red fox", "the quick brown fox jumps", "No.", ""])
def test_an_answer_that_says_something_else_or_less_is_no_continuation(answer: str) -> None:
    with pytest.raises(ContinuationError):
        continued(SENT, [answer])


def test_an_answer_that_diverges_is_given_up_at_once() -> None:
    transcript = Transcript(TEXT)
    transcript.feed(SENT)
    splice = Splice(transcript, prefilled=False)
    assert splice.feed("The quick ") == []
    with pytest.raises(ContinuationError, match="something else"):
        splice.feed("re")


def test_a_word_that_had_ended_does_not_grow() -> None:
    with pytest.raises(ContinuationError):
        continued("a cat ", ["a category"])


@pytest.mark.parametrize(
    ("sent", "answer", "whole"),
    [
        ("one ", ["one\n", "\ntwo"], "one \n\ntwo"),
        ("one \n", ["one", " two"], "one \ntwo"),
        (" one", ["one two"], " one two"),
        ("one", ["\n", "one two"], "one two"),
        ("one ", ["one"], "one "),
        ("one ", ["one", "", " two", "s"], "one twos"),
        ("one \n", ["one", " two", "\nthree"], "one \ntwo\nthree"),
        ("\n\n", ["\n", "\none"], "\n\none"),
    ],
)
def test_white_space_at_the_seam_may_differ(sent: str, answer: list[str], whole: str) -> None:
    assert continued(sent, answer) == whole


def test_white_space_that_a_server_does_not_take_in_a_prefill_is_not_doubled() -> None:
    assert continued(SENT + " ", [" over"], prefilled=True) == SENT + " over"
    assert continued(SENT + " ", ["over"], prefilled=True) == SENT + " over"


def test_a_prefill_with_nothing_to_add_is_an_answer() -> None:
    assert continued(SENT, ["", ""], prefilled=True) == SENT


def test_a_continuation_that_begins_like_the_text_is_no_repetition() -> None:
    assert continued(SENT, [". The", " quick"], prefilled=True) == SENT + ". The quick"
    assert continued(SENT, ["The", " quick"], prefilled=True) == SENT + "The quick"


def test_what_comes_before_the_first_text_is_not_shown_again() -> None:
    splice = Splice(Transcript(TEXT), prefilled=False)
    assert [splice.feed(chunk) for chunk in ["", "", "one", ""]] == [[], [], ["one"], [""]]


def test_a_prefilled_answer_may_go_on_with_something_else_than_text() -> None:
    transcript = Transcript(TEXT)
    transcript.feed(SENT)
    splice = Splice(transcript, prefilled=True)
    assert splice.feed("The") == []
    assert splice.feed(1) == ["The", 1]
    assert not transcript.is_text


@pytest.mark.parametrize("sent", ["ha", "----------------", "1. "])
def test_a_short_text_that_comes_again_after_a_prefill_is_not_guessed_at(sent: str) -> None:
    with pytest.raises(ContinuationError, match="nobody can tell"):
        continued(sent, [sent, "and more"], prefilled=True)
