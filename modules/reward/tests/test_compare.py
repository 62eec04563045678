"""Answers that are equal, answers that are not, and input that nobody should send."""

import random
from fractions import Fraction

import pytest

from grading.compare import equivalent

EQUAL = [
    ("1/2", "0.5"),
    (r"\frac12", "0.5"),
    (r"\dfrac{1}{2}", ".50"),
    ("50%", "1/2"),
    ("50%", "50"),
    (r"50\%", "0.5"),
    ("1,234", "1234"),
    ("1{,}234", "1234"),
    (r"12\,345", "12345"),
    ("$5", "5"),
    (r"\$5.00", "5"),
    ("5 dollars", "$5"),
    ("18 apples", "18"),
    ("5 cm", r"5\text{ cm}"),
    (r"5\text{ cm}", "5"),
    ("5 m", "5"),
    (r"90^\circ", "90"),
    ("90°", r"90^\circ"),
    ("90 degrees", "90"),
    ("(1,2)", "(1, 2)"),
    ("{2,1}", r"\{1,2\}"),
    ("1, 2", "2,1"),
    ("1 and 2", "2, 1"),
    ("x=5", "5"),
    ("5", "x = 5"),
    ("x = 2 or x = -3", "-3, 2"),
    (r"\pm 2", "2,-2"),
    (r"x=\pm\sqrt{2}", r"\sqrt2,-\sqrt2"),
    ("2x+1", "1+2x"),
    ("(x+1)^2", "x^2+2x+1"),
    ("y=2x+1", "2x-y+1=0"),
    ("f(x)=2x", "2x"),
    ("x>3", r"(3,\infty)"),
    ("3<x", "x>3"),
    (r"(-\infty,3]", r"x\le3"),
    (r"x\in(-\infty,3]", r"x\le3"),
    (r"\frac{\sqrt3}{3}", r"\frac1{\sqrt3}"),
    (r"\sqrt{12}", r"2\sqrt{3}"),
    (r"\frac{1}{1+\sqrt2}", r"\sqrt{2}-1"),
    ("pi/2", r"\frac{\pi}{2}"),
    ("2π", r"2\pi"),
    ("(A)", "A"),
    ("A. Paris", "A"),
    ("a", "A"),
    (r"\text{Yes}", "yes"),
    ("**42**", "42"),
    ("$42$", "42"),
    ("42.", "42"),
    (r"\(42\)", "42"),
    ("-3", "−3"),
    ("1 1/2", "1.5"),
    (r"1\frac12", "3/2"),
    ("1½", "3/2"),
    (r"3\times10^{4}", "30000"),
    ("3e4", "30000"),
    ("10^{-3}", "0.001"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}"),
    (r"\emptyset", r"\{\}"),
    ("x^2-1", "(x-1)(x+1)"),
    ("i^2", "-1"),
    (r"\frac{1}{i}", "-i"),
    (r"\log_2 8", "3"),
    (r"\sin^2 x+\cos^2 x", "1"),
    ("2^{10}", "1024"),
    ("5!", "120"),
    (r"\binom{5}{2}", "10"),
    (r"\sqrt[3]{27}", "3"),
    ("x=1, y=2", "(1,2)"),
    (r"(0,1)\cup(2,3)", r"(2,3)\cup(0,1)"),
    ("3:4", "3 : 4"),
    ("5 cm^2", "5 square centimeters"),
    ("1000000", "1,000,000"),
    ("a+b", "b+a"),
    (r"\frac{a}{b}", "a/b"),
    ("x_1", "x_{1}"),
    ("no solution", "No solution."),
    (r"\text{no solution}", "no solution"),
    ("-1<x<1", "(-1,1)"),
    ("0.333", "0.3330"),
    (r"\frac{3}{4}\text{ hours}", "0.75"),
    ("$1,000", "1000"),
    ("-$5", "-5"),
    ("100 mph", "100"),
    (r"2\sqrt{2}", r"\sqrt{8}"),
    ("e^2", "e^{2}"),
    (r"\boxed{5}", "5"),
    (r"5 \text{ and } 6", "5,6"),
    (r"4\pi\text{ cm}^3", r"4\pi"),
    ("y = 3x - 5", "3x-5"),
    (r"\left(\frac{1}{2},3\right)", "(0.5,3)"),
    ("1.5e3", "1500"),
    (r"x \geq 2", r"[2,\infty)"),
    ("x≥2", "x >= 2"),
    (r"\sqrt[4]{16}", "2"),
    ("|-3|", "3"),
]

DIFFERENT = [
    ("1/3", "0.33"),
    ("0.5", "5"),
    ("1", "2"),
    ("(1,2)", "(2,1)"),
    ("(1,2)", "[1,2]"),
    ("(1,2)", "1,2"),
    ("1,2", "1"),
    ("1 or 2", "1"),
    ("{1,2}", "{1,3}"),
    ("x>3", "x<3"),
    ("x>3", "x>=3"),
    ("x", "X1"),
    ("yes", "no"),
    ("on", "no"),
    ("5 cm", "5 m"),
    ("A", "B"),
    ("", ""),
    ("2x", "x^2"),
    ("50%", "5"),
    ("5%", "0.5"),
    (r"\sqrt{x^2}", "x"),
    ("22/7", r"\pi"),
    ("3.14159", r"\pi"),
    ("1,234", "1.234"),
    ("y=2x+1", "y=2x"),
    ("x+y=1", "x-y=1"),
    ("2<x", "x<2"),
    ("(1,234)", "1234"),
    (r"\{1\}", "2"),
    ("sin x", "cos x"),
    ("1;2", "2;3"),
    ("100", "1000"),
    ("-1", "1"),
    ("act", "cat"),
    ("3:4", "4:3"),
    ("1011_2", "1011"),
    ("(1,2,3)", "(1,2)"),
]


@pytest.mark.parametrize(("a", "b"), EQUAL)
def test_equal_in_both_directions(a: str, b: str) -> None:
    assert equivalent(a, b)
    assert equivalent(b, a)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_different_in_both_directions(a: str, b: str) -> None:
    assert not equivalent(a, b)
    assert not equivalent(b, a)


@pytest.mark.parametrize("text", sorted({text for pair in EQUAL for text in pair}))
def test_everything_equals_itself(text: str) -> None:
    assert equivalent(text, text)


def spellings(value: Fraction) -> list[str]:
    """One number, written in several ways."""
    n, d = value.numerator, value.denominator
    sign = "-" if n < 0 else ""
    written = [f"{n}/{d}", rf"{sign}\frac{{{abs(n)}}}{{{d}}}", f"{3 * n}/{3 * d}", f"({n}) / {d}"]
    whole, rest = divmod(abs(n), d)
    if d > 1 and whole:
        written += [f"{sign}{whole} {rest}/{d}", rf"{sign}{whole}\frac{{{rest}}}{{{d}}}"]
    if 10**6 % d == 0:
        written.append(f"{sign}{abs(n) * 10**6 // d // 10**6}.{abs(n) * 10**6 // d % 10**6:06d}")
        written.append(f"{n * 10**6 // d}e-6")
    if d == 1:
        written += [f"{n:,}", f"{n}.0", f"${n}$", rf"\boxed{{{n}}}"]
    return written


def test_random_rationals_in_every_spelling() -> None:
    generator = random.Random(7)
    for _ in range(60):
        value = Fraction(generator.randint(-2000, 2000), generator.choice([1, 2, 3, 8, 25, 7]))
        other = value + Fraction(1, generator.randint(1, 1000))
        for a in spellings(value):
            for b in spellings(value):
                assert equivalent(a, b), (a, b)
            for b in spellings(other):
                assert not equivalent(a, b), (a, b)


def test_random_polynomials_expand() -> None:
    generator = random.Random(11)
    for _ in range(100):
        a, b, c = (generator.randint(1, 9) for _ in range(3))
        factored = f"({a}x+{b})(x-{c})"
        expanded = f"{a}x^2 + {b}x - {a * c}x - {b * c}"
        assert equivalent(factored, expanded)
        assert not equivalent(factored, expanded + " + 1")


def test_a_tolerance_is_relative_and_off_by_default() -> None:
    assert not equivalent("3.1416", r"\pi")
    assert equivalent("3.1416", r"\pi", tolerance=1e-4)
    assert not equivalent("3.15", r"\pi", tolerance=1e-4)
    assert equivalent("1000001", "1000000", tolerance=1e-5)
    assert equivalent("(0.333, 2)", "(1/3, 2)", tolerance=1e-2)
    assert not equivalent("0.5x", "0.51x", tolerance=0.1)


HOSTILE = [
    "(" * 1000,
    "(" * 39 + "1" + ")" * 39,
    "{" * 900 + "}" * 900,
    "-" * 1999,
    "|" * 500,
    "2^{99999999}",
    "9^9^9^9",
    "(a+b+c+d+e+f+g)^60",
    "(x+1)^{64}(y+1)^{64}(z+1)^{64}",
    "1" * 1900,
    "1e999999",
    "500!!",
    "1/0",
    r"\frac{1}{0}",
    r"\sqrt[0]{2}",
    "0^{-1}",
    r"\log_1 2",
    r"\ln 0",
    r"\sqrt{" + "9" * 900 + "}",
    ",".join("1" * 900),
    r"\begin{pmatrix}" + "1&" * 300,
    r"\text{" * 200,
    "x_{" * 100,
    "\0\ud7ff\U0010ffff",
    "$" * 2000,
    "sin " * 400,
    r"\infty-\infty",
    "tan(pi/2)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_answers_are_answered(text: str) -> None:
    assert isinstance(equivalent(text, "1"), bool)
    assert isinstance(equivalent("1", text), bool)
    assert isinstance(equivalent(text, text + " "), bool)


def test_random_characters_never_raise() -> None:
    generator = random.Random(3)
    alphabet = [*"0123456789xyab+-*/^_(){}[],.;:|%!$=<> ", r"\frac", r"\sqrt", r"\pm", r"\{", r"\}"]
    for _ in range(1500):
        text = "".join(generator.choices(alphabet, k=generator.randint(1, 25)))
        other = "".join(generator.choices(alphabet, k=generator.randint(1, 25)))
        assert equivalent(text, other) == equivalent(other, text), (text, other)
