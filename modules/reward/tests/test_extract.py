"""Where the final answer stands."""

import pytest

from grading.extract import MAX_ANSWER, extract, reference_answer, spoken

ANSWERS = [
    (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
    ("a\n#### 42\n", "42"),
    ("The answer is 5.", "5"),
    (r"The final answer is: $\frac12$. I hope", r"\frac12"),
    ("we get 3, then 1,234 apples.", "1,234"),
    ("cost $3.50 total", "$3.50"),
    ("Answer: (B) because", "(B)"),
    ("**Answer:** 12", "12"),
    ("nothing", None),
    (r"\boxed{1} then \boxed{2}", "2"),
    (r"\boxed{1} then \boxed{2", "1"),
    ("x is -5", "-5"),
    ("5-3", "3"),
    ("it is 3/4 of", "3/4"),
    ("50% off", "50%"),
    ("The answer is 3 apples, so we are done", "3 apples"),
    ("The answer is x = 2.", "x = 2"),
    (r"\boxed{}", None),
    (r"\boxed 7", "7"),
    (r"answer is $\{1,2\}$", r"\{1,2\}"),
    ("The answer is 1.5.", "1.5"),
    ("The answer is **7**.", "7"),
    ("Final Answer: The final answer is $12$. I hope it is correct.", "12"),
    ("v2 of model-3 has 10", "10"),
    ("range 3-5", "5"),
]


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_extract(text: str, answer: str | None) -> None:
    assert extract(text) == answer


def test_only_boxes_count_where_only_boxes_are_asked_for() -> None:
    assert extract("#### 5\nThe answer is 6.", boxed_only=True) is None
    assert extract(r"\boxed{5} and 6", boxed_only=True) == "5"


def test_a_box_goes_before_everything_else() -> None:
    assert extract("\\boxed{1}\n#### 2\nThe answer is 3. 4") == "1"
    assert extract("#### 2\nThe answer is 3. 4") == "2"
    assert extract("The answer is 3. Not 4") == "3"


def test_the_last_mathematical_phrase_counts() -> None:
    assert extract("The answer is 12. I am sure that this answer is correct.") == "12"
    assert extract("The answer is no.") == "no"


def test_thoughts_are_not_spoken() -> None:
    assert spoken("<think>It may be 5.</think>The answer is 6.") == "The answer is 6."
    assert spoken("It may be 5.</think> 6") == " 6"
    assert spoken("<think>It may be 5. No, 6") == ""


def test_the_prompt_is_not_spoken() -> None:
    assert spoken("What is 2+2? It is 4.", "What is 2+2?") == " It is 4."
    assert spoken("It is 4.", "What is 2+2?") == "It is 4."


def test_references_may_be_bare_or_marked() -> None:
    assert reference_answer(" 42 ") == "42"
    assert reference_answer("She has 3 + 4 = 7.\n#### 7") == "7"
    assert reference_answer(r"Thus \boxed{\frac{1}{2}}.") == r"\frac{1}{2}"
    assert reference_answer("x = 2 or x = 3") == "x = 2 or x = 3"
    assert reference_answer("  ") is None


def test_long_answers_are_no_answers() -> None:
    assert extract("#### " + "1" * MAX_ANSWER) == "1" * MAX_ANSWER
    assert extract("#### " + "1" * (MAX_ANSWER + 1)) is None


@pytest.mark.parametrize("text", ["1 " * 100_000, "\\boxed{" * 20_000, "{" * 100_000, "-" * 100_000])
def test_long_completions_are_searched(text: str) -> None:
    extract(text)
