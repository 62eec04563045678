"""Grades one attempt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from .compare import equivalent
from .extract import extract, reference_answer, spoken


class Outcome(Enum):
    CORRECT = "correct"
    INCORRECT = "incorrect"
    NO_ANSWER = "no-answer"
    NO_REFERENCE = "no-reference"


@dataclass(frozen=True)
class Judgement:
    outcome: Outcome
    answer: str | None
    reason: str

    @property
    def score(self) -> float:
        return 1.0 if self.outcome is Outcome.CORRECT else 0.0


def judge(
    prompt: str,
    completion: str,
    reference: str,
    *,
    tolerance: float | None = None,
    boxed_only: bool = False,
) -> Judgement:
    """The grade of one attempt. A tolerance that is not a number between 0 and 1 counts as none."""
    if tolerance is not None and not (math.isfinite(tolerance) and 0 < tolerance < 1):
        tolerance = None
    expected = reference_answer(reference)
    if expected is None:
        return Judgement(Outcome.NO_REFERENCE, None, "The reference holds no answer.")
    answer = extract(spoken(completion, prompt), boxed_only=boxed_only)
    if answer is None:
        where = r"no answer in \boxed{}" if boxed_only else "no answer"
        return Judgement(Outcome.NO_ANSWER, None, f"The completion holds {where}.")
    if equivalent(answer, expected, tolerance):
        return Judgement(Outcome.CORRECT, answer, f"{_short(answer)} equals {_short(expected)}.")
    reason = f"{_short(answer)} does not equal {_short(expected)}."
    return Judgement(Outcome.INCORRECT, answer, reason)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return f"`{text}`" if len(text) <= 80 else f"`{text[:79]}…`"
