"""Exact arithmetic on numbers, roots, constants and variables.

An `Expression` is a quotient of two polynomials with rational coefficients. Their atoms are
variables, constants such as pi, the imaginary unit, primes under a root, and function values.
Products of roots of different primes are linearly independent over the rationals, so expressions
without function values are equal exactly if their cross products are the same polynomial.

Every operation is bounded; `TooComplex` says that a bound was reached.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

MAX_BITS = 4096
MAX_TERMS = 400
MAX_POWER = 64
MAX_FACTOR = 10_000


class TooComplex(ValueError):
    """The expression is larger than this grader is willing to compute with."""


@dataclass(frozen=True)
class Atom:
    """Something that a polynomial treats as a variable.

    `kind` is one of `variable`, `constant`, `imaginary`, `prime` and `function`.
    """

    kind: str
    name: str
    arguments: tuple[Expression, ...] = field(default=(), compare=False)

    def sort_key(self) -> tuple[str, str]:
        return (self.kind, self.name)


# The exponents of a product of atoms, ordered by atom; no exponent is 0.
Monomial = tuple[tuple[Atom, Fraction], ...]
Polynomial = Mapping[Monomial, Fraction]

IMAGINARY = Atom("imaginary", "i")


@dataclass(frozen=True)
class Expression:
    """A quotient of two polynomials. Made by the functions of this module."""

    numerator: Polynomial
    denominator: Polynomial

    def rational(self) -> Fraction | None:
        """The value, if it is a rational number."""
        top, bottom = _constant(self.numerator), _constant(self.denominator)
        return None if top is None or bottom is None else top / bottom

    def atoms(self) -> set[Atom]:
        """All atoms of both polynomials."""
        return {atom for part in (self.numerator, self.denominator) for key in part for atom, _ in key}

    def variables(self) -> set[str]:
        """The names of all variables, those inside function values included."""
        names: set[str] = set()
        for atom in self.atoms():
            if atom.kind == "variable":
                names.add(atom.name)
            for argument in atom.arguments:
                names |= argument.variables()
        return names

    def text(self) -> str:
        """A text that is the same for expressions that are written the same."""
        return f"{_polynomial_text(self.numerator)}/{_polynomial_text(self.denominator)}"

    def is_zero(self) -> bool:
        return not self.numerator

    def evaluate(self, point: Mapping[str, complex]) -> complex:
        """The value in floating point; raises ArithmeticError or ValueError where there is none."""
        return _evaluate(self.numerator, point) / _evaluate(self.denominator, point)


ONE: Polynomial = {(): Fraction(1)}


def number(value: Fraction | int) -> Expression:
    value = Fraction(value)
    _check_size(value)
    return Expression({(): value} if value else {}, ONE)


def variable(name: str) -> Expression:
    return _single(Atom("variable", name))


def constant(name: str) -> Expression:
    """`pi`, `e` or `infinity`."""
    return _single(Atom("constant", name))


def imaginary() -> Expression:
    return _single(IMAGINARY)


def function(name: str, *arguments: Expression) -> Expression:
    """The value of a function that this module does not compute exactly."""
    text = ";".join(argument.text() for argument in arguments)
    return _single(Atom("function", f"{name}({text})", arguments))


def add(a: Expression, b: Expression) -> Expression:
    if a.denominator == b.denominator:
        return _quotient(_add(a.numerator, b.numerator), a.denominator)
    top = _add(_multiply(a.numerator, b.denominator), _multiply(b.numerator, a.denominator))
    return _quotient(top, _multiply(a.denominator, b.denominator))


def negate(a: Expression) -> Expression:
    return Expression({key: -value for key, value in a.numerator.items()}, a.denominator)


def subtract(a: Expression, b: Expression) -> Expression:
    return add(a, negate(b))


def multiply(a: Expression, b: Expression) -> Expression:
    return _quotient(
        _multiply(a.numerator, b.numerator), _multiply(a.denominator, b.denominator)
    )


def divide(a: Expression, b: Expression) -> Expression:
    if b.is_zero():
        raise ZeroDivisionError("division by zero")
    return _quotient(
        _multiply(a.numerator, b.denominator), _multiply(a.denominator, b.numerator)
    )


def power(base: Expression, exponent: Expression) -> Expression:
    value = exponent.rational()
    if value is None:
        return function("pow", base, exponent)
    if value.denominator == 1:
        return _whole_power(base, value.numerator)
    rational = base.rational()
    if rational is not None:
        return _root_of_rational(rational, value)
    product = _positive_product(base)
    if product is None:
        return function("pow", base, exponent)
    coefficient, key = product
    rest = tuple((atom, part * value) for atom, part in key)
    return multiply(_root_of_rational(coefficient, value), Expression({rest: Fraction(1)}, ONE))


def logarithm(argument: Expression) -> Expression:
    """The natural logarithm; of a positive rational as a sum over its primes."""
    value = argument.rational()
    if value is None or value <= 0:
        if argument == constant("e"):
            return number(1)
        return function("ln", argument)
    total = number(0)
    for part, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime, count in _factor(part).items():
            term = function("ln", number(prime))
            total = add(total, multiply(number(sign * count), term))
    return total


def equal(a: Expression, b: Expression) -> bool:
    """Whether two expressions have the same value, wherever both have one."""
    difference = subtract(a, b)
    if difference.is_zero():
        return True
    if any(atom.kind == "function" for atom in difference.atoms()):
        return _equal_at_samples(a, b)
    return False


def proportional(a: Expression, b: Expression) -> Fraction | None:
    """The rational `k` with `a = k b`, if there is one and neither is zero."""
    if a.is_zero() or b.is_zero():
        return None
    cross_a = _multiply(a.numerator, b.denominator)
    cross_b = _multiply(b.numerator, a.denominator)
    key = max(cross_b, key=_monomial_key)
    if key not in cross_a:
        return None
    factor = cross_a[key] / cross_b[key]
    scaled = {key: value * factor for key, value in cross_b.items()}
    return factor if scaled == dict(cross_a) else None


# Chosen once; no reasonable pair of different expressions agrees at all of them.
_SAMPLES = (0.7390851332, 1.3247179572, -0.5671432904, 2.5029078750, -1.4513692348)


def _equal_at_samples(a: Expression, b: Expression) -> bool:
    names = sorted(a.variables() | b.variables())
    agreed = 0
    for shift in range(len(_SAMPLES) if names else 1):
        point = {
            name: complex(_SAMPLES[(shift + index) % len(_SAMPLES)] * (1 + index // len(_SAMPLES)))
            for index, name in enumerate(names)
        }
        try:
            left, right = a.evaluate(point), b.evaluate(point)
        except (ArithmeticError, ValueError):
            continue
        if not (cmath.isfinite(left) and cmath.isfinite(right)):
            continue
        if not cmath.isclose(left, right, rel_tol=1e-12, abs_tol=1e-12):
            return False
        agreed += 1
    return agreed >= (3 if names else 1)


def _evaluate(polynomial: Polynomial, point: Mapping[str, complex]) -> complex:
    total = 0j
    for key, coefficient in polynomial.items():
        term = complex(float(coefficient))
        for atom, exponent in key:
            term *= _evaluate_atom(atom, point) ** (
                exponent.numerator if exponent.denominator == 1 else float(exponent)
            )
        total += term
    return total


_CONSTANTS = {"pi": math.pi, "e": math.e, "infinity": math.inf}
_FUNCTIONS = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "ln": cmath.log,
    "abs": abs,
    "pow": lambda base, exponent: base**exponent,
}
FUNCTIONS = frozenset(_FUNCTIONS) - {"pow", "ln", "abs"}


def _evaluate_atom(atom: Atom, point: Mapping[str, complex]) -> complex:
    if atom.kind == "variable":
        return point[atom.name]
    if atom.kind == "constant":
        return complex(_CONSTANTS[atom.name])
    if atom.kind == "imaginary":
        return 1j
    if atom.kind == "prime":
        return complex(float(int(atom.name)))
    name = atom.name.partition("(")[0]
    return complex(_FUNCTIONS[name](*(argument.evaluate(point) for argument in atom.arguments)))


def _single(atom: Atom) -> Expression:
    return Expression({((atom, Fraction(1)),): Fraction(1)}, ONE)


def _quotient(top: Polynomial, bottom: Polynomial) -> Expression:
    """Divides by a denominator of one term outright, so that it seldom grows."""
    if len(bottom) == 1:
        ((key, coefficient),) = bottom.items()
        if not any(atom.kind == "imaginary" for atom, _ in key):
            inverse = tuple((atom, -exponent) for atom, exponent in key)
            return Expression(_multiply(top, {inverse: 1 / coefficient}), ONE)
    return Expression(top, bottom)


def _constant(polynomial: Polynomial) -> Fraction | None:
    if not polynomial:
        return Fraction(0)
    return polynomial[()] if len(polynomial) == 1 and () in polynomial else None


def _positive_product(base: Expression) -> tuple[Fraction, Monomial] | None:
    """Coefficient and atoms of one term whose atoms are all positive numbers."""
    if len(base.numerator) != 1 or base.denominator != ONE:
        return None
    ((key, coefficient),) = base.numerator.items()
    positive = all(atom.kind in ("prime", "constant") for atom, _ in key)
    return (coefficient, key) if positive and coefficient > 0 else None


def _add(a: Polynomial, b: Polynomial) -> Polynomial:
    total = dict(a)
    for key, value in b.items():
        _accumulate(total, key, value)
    return _checked(total)


def _multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    if a is ONE or b is ONE:
        return b if a is ONE else a
    if len(a) * len(b) > MAX_TERMS * MAX_TERMS // 4:
        raise TooComplex("too many terms")
    total: dict[Monomial, Fraction] = {}
    for left, x in a.items():
        for right, y in b.items():
            factor, key = _product(left, right)
            _accumulate(total, key, x * y * factor)
    return _checked(total)


def _accumulate(total: dict[Monomial, Fraction], key: Monomial, value: Fraction) -> None:
    value += total.get(key, 0)
    if value:
        total[key] = value
    else:
        total.pop(key, None)


def _product(left: Monomial, right: Monomial) -> tuple[Fraction, Monomial]:
    exponents: dict[Atom, Fraction] = {}
    for atom, exponent in (*left, *right):
        exponents[atom] = exponents.get(atom, Fraction(0)) + exponent
    factor = Fraction(1)
    for atom, exponent in list(exponents.items()):
        whole = math.floor(exponent)
        if atom.kind == "prime" and whole:
            factor *= Fraction(int(atom.name)) ** whole
            exponents[atom] = exponent - whole
        elif atom.kind == "imaginary":
            factor *= -1 if exponent % 4 in (2, 3) else 1
            exponents[atom] = exponent % 2
    kept = ((atom, exponent) for atom, exponent in exponents.items() if exponent)
    return factor, tuple(sorted(kept, key=lambda part: part[0].sort_key()))


def _whole_power(base: Expression, exponent: int) -> Expression:
    if exponent < 0:
        return divide(number(1), _whole_power(base, -exponent))
    terms = max(len(base.numerator), len(base.denominator))
    rational = base.rational()
    if rational is not None:
        bits = max(rational.numerator.bit_length(), rational.denominator.bit_length())
        # 0, 1 and -1 may be raised to any power.
        if abs(rational) not in (0, 1) and bits * exponent > MAX_BITS * 2:
            raise TooComplex("the power is too large")
        return number(rational**exponent)
    if exponent > (MAX_POWER if terms > 1 else MAX_BITS):
        raise TooComplex("the power is too large")
    result = number(1)
    while exponent:
        if exponent & 1:
            result = multiply(result, base)
        exponent >>= 1
        if exponent:
            base = multiply(base, base)
    return result


def _root_of_rational(value: Fraction, exponent: Fraction) -> Expression:
    """`value ** exponent`; odd roots of negative numbers are real."""
    if value == 0:
        if exponent < 0:
            raise ZeroDivisionError("division by zero")
        return number(0)
    result = number(1)
    if value < 0:
        if exponent.denominator == 2:
            result = _whole_power(imaginary(), exponent.numerator)
        elif exponent.denominator % 2 == 1:
            result = number(-1 if exponent.numerator % 2 else 1)
        else:
            return function("pow", number(value), number(exponent))
    for part, sign in ((abs(value.numerator), 1), (value.denominator, -1)):
        for prime, count in _factor(part).items():
            result = multiply(result, _prime_power(prime, exponent * count * sign))
    return result


def _prime_power(prime: int, exponent: Fraction) -> Expression:
    whole = math.floor(exponent)
    if abs(whole) * prime.bit_length() > MAX_BITS * 2:
        raise TooComplex("the power is too large")
    rest = exponent - whole
    key = ((Atom("prime", str(prime)), rest),) if rest else ()
    return Expression({key: Fraction(prime) ** whole}, ONE)


def _factor(value: int) -> dict[int, int]:
    """The primes of a positive number; what has none below the bound counts as one prime."""
    factors: dict[int, int] = {}
    for candidate in (2, 3, *range(5, MAX_FACTOR, 2)):
        if candidate * candidate > value:
            break
        while value % candidate == 0:
            factors[candidate] = factors.get(candidate, 0) + 1
            value //= candidate
    if value > 1:
        root = math.isqrt(value)
        base, count = (root, 2) if root * root == value else (value, 1)
        factors[base] = factors.get(base, 0) + count
    return factors


def _checked(polynomial: Polynomial) -> Polynomial:
    if len(polynomial) > MAX_TERMS:
        raise TooComplex("too many terms")
    for value in polynomial.values():
        _check_size(value)
    return polynomial


def _check_size(value: Fraction) -> None:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise TooComplex("the number is too large")


def _monomial_key(key: Monomial) -> tuple[object, ...]:
    return (sum((exponent for _, exponent in key), Fraction(0)), _monomial_text(key))


def _monomial_text(key: Monomial) -> str:
    return "*".join(f"{atom.name}^{exponent}" for atom, exponent in key)


def _polynomial_text(polynomial: Polynomial) -> str:
    terms = (f"{_fraction_text(polynomial[key])}*{_monomial_text(key)}" for key in polynomial)
    return "+".join(sorted(terms))


def _fraction_text(value: Fraction) -> str:
    # Hexadecimal has no limit on its length, unlike decimal conversion.
    return f"{value.numerator:x}:{value.denominator:x}"
