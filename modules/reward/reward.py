"""The component's exports: the interface `grade` of `wit/reward.wit`."""

from wit_world import exports
from wit_world.exports.grade import Attempt, Judgement, Options, Outcome

from grading import judge as grading
from grading.compare import equivalent
from grading.extract import extract, spoken

_OUTCOMES = {
    grading.Outcome.CORRECT: Outcome.CORRECT,
    grading.Outcome.INCORRECT: Outcome.INCORRECT,
    grading.Outcome.NO_ANSWER: Outcome.NO_ANSWER,
    grading.Outcome.NO_REFERENCE: Outcome.NO_REFERENCE,
}


class Grade(exports.Grade):
    def grade(self, attempts: list[Attempt]) -> list[Judgement]:
        return self.grade_with(attempts, Options(tolerance=None, boxed_only=False))

    def grade_with(self, attempts: list[Attempt], options: Options) -> list[Judgement]:
        return [_grade(attempt, options) for attempt in attempts]

    def extract(self, completion: str) -> str | None:
        return extract(spoken(completion))

    def equivalent(self, a: str, b: str) -> bool:
        return equivalent(a, b)


def _grade(attempt: Attempt, options: Options) -> Judgement:
    judgement = grading.judge(
        attempt.prompt,
        attempt.completion,
        attempt.reference,
        tolerance=options.tolerance,
        boxed_only=options.boxed_only,
    )
    return Judgement(
        score=judgement.score,
        outcome=_OUTCOMES[judgement.outcome],
        answer=judgement.answer,
        reason=judgement.reason,
    )
