"""Whole attempts."""

import math

import pytest

from grading.judge import Outcome, judge


def test_a_correct_attempt() -> None:
    judgement = judge("What is half of one?", r"It is \boxed{\frac{1}{2}}.", "0.5")
    assert judgement.outcome is Outcome.CORRECT
    assert judgement.score == 1.0
    assert judgement.answer == r"\frac{1}{2}"
    assert judgement.reason == r"`\frac{1}{2}` equals `0.5`."


def test_a_wrong_attempt() -> None:
    judgement = judge("", "The answer is 7.", "#### 8")
    assert (judgement.outcome, judgement.score) == (Outcome.INCORRECT, 0.0)
    assert judgement.reason == "`7` does not equal `8`."


def test_no_answer_and_no_reference() -> None:
    assert judge("", "I do not know.", "8").outcome is Outcome.NO_ANSWER
    assert judge("", "#### 8", "8", boxed_only=True).outcome is Outcome.NO_ANSWER
    assert judge("", "<think>8", "8").outcome is Outcome.NO_ANSWER
    assert judge("", "8", " ").outcome is Outcome.NO_REFERENCE


def test_repeating_the_question_earns_nothing() -> None:
    question = "Is it 12?"
    assert judge(question, question, "12").outcome is Outcome.NO_ANSWER
    assert judge(question, f"{question} It is 12", "12").outcome is Outcome.CORRECT


def test_listing_answers_earns_nothing() -> None:
    assert judge("", r"\boxed{1, 2, 3, 4}", "3").outcome is Outcome.INCORRECT
    assert judge("", r"\boxed{3} or \boxed{4}", "3").outcome is Outcome.INCORRECT


@pytest.mark.parametrize("tolerance", [math.nan, math.inf, -1.0, 0.0, 1.0, 5.0])
def test_tolerances_that_make_no_sense_count_as_none(tolerance: float) -> None:
    assert judge("", "#### 3", "4", tolerance=tolerance).outcome is Outcome.INCORRECT


def test_a_reason_is_short() -> None:
    judgement = judge("", "#### " + "9" * 1500, "1")
    assert len(judgement.reason) < 200
