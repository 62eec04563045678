"""Reads an answer as a `Value`.

A descent over the grammar, from lists of relations down to numbers. Its depth is bounded, so that
no input can exhaust the stack.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from . import algebra
from .algebra import Expression
from .relations import relation
from .tokens import Token, Unreadable, tokenize
from .values import Collection, Matrix, Number, Sequence, Value

MAX_DEPTH = 40

_RELATIONS = {
    "=": "=", "==": "=", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "!=": "!=",
    r"\le": "<=", r"\leq": "<=", r"\leqslant": "<=", r"\ge": ">=", r"\geq": ">=",
    r"\geqslant": ">=", r"\lt": "<", r"\gt": ">", r"\ne": "!=", r"\neq": "!=", r"\in": "in",
}  # fmt: skip
_GREEK = frozenset(
    "alpha beta gamma delta epsilon theta lambda mu phi varphi rho sigma tau omega psi".split()
)
_ARC = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"}
_CLOSING = {"(": (")", "]"), "[": ("]", ")")}
MAX_FACTORIAL = 500


def parse(text: str) -> Value:
    """The value that a text denotes; raises `Unreadable`, `TooComplex` or ZeroDivisionError."""
    tokens = tokenize(text)
    if not tokens:
        raise Unreadable("nothing to read")
    if not any(token.text in (r"\pm", r"\mp") for token in tokens):
        return _Parser(tokens, 1).whole()
    branches = (_Parser(tokens, 1).whole(), _Parser(tokens, -1).whole())
    return Collection("list", branches)


class _Parser:
    def __init__(self, tokens: list[Token], sign: int) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0
        # What `\pm` stands for.
        self._sign = sign
        # Whether `|` now closes an absolute value.
        self._inside_bars = 0

    def whole(self) -> Value:
        value = self._list()
        if self._peek() is not None:
            raise Unreadable(f"unexpected {self._tokens[self._position].text!r}")
        return value

    # Tokens.

    def _peek(self, ahead: int = 0) -> Token | None:
        index = self._position + ahead
        return self._tokens[index] if index < len(self._tokens) else None

    def _at(self, *texts: str) -> bool:
        token = self._peek()
        return token is not None and token.text in texts

    def _take(self, *texts: str) -> bool:
        if self._at(*texts):
            self._position += 1
            return True
        return False

    def _need(self, *texts: str) -> str:
        token = self._peek()
        if token is None or token.text not in texts:
            raise Unreadable(f"expected {' or '.join(texts)}")
        self._position += 1
        return token.text

    # Structure.

    def _list(self) -> Value:
        items = [self._union()]
        while self._take(",", ";", "or", "and"):
            # "1, 2, and 3"; a comma at the end is harmless too.
            self._take("or", "and")
            if self._peek() is None:
                break
            items.append(self._union())
        return items[0] if len(items) == 1 else Collection("list", tuple(items))

    def _union(self) -> Value:
        items = [self._ratio()]
        while self._take(r"\cup"):
            items.append(self._ratio())
        return items[0] if len(items) == 1 else Collection("union", tuple(items))

    def _ratio(self) -> Value:
        items = [self._relation()]
        while self._take(":"):
            items.append(self._relation())
        return items[0] if len(items) == 1 else Sequence("::", tuple(items))

    def _relation(self) -> Value:
        values = [self._value()]
        operators = []
        while (token := self._peek()) is not None and token.text in _RELATIONS:
            self._position += 1
            operators.append(_RELATIONS[token.text])
            values.append(self._value())
        return relation(values, operators) if operators else values[0]

    def _value(self) -> Value:
        """A collection or a number; brackets without a comma only group."""
        if (structure := self._structure()) is not None:
            return structure
        expression = self._sum()
        return Number(expression, percent=self._take("%", r"\%"))

    def _structure(self) -> Value | None:
        start = self._position
        if self._take(r"\emptyset", r"\varnothing"):
            return Collection("set", ())
        if self._take(r"\{"):
            return Collection("set", self._items(r"\}"))
        if self._at("{"):
            # Plain braces are a set in plain text, and only group in LaTeX.
            return self._attempt(start, lambda: self._bracketed_set())
        if self._at("(", "["):
            return self._attempt(start, self._sequence)
        if self._take(r"\begin"):
            return self._matrix()
        return None

    def _attempt(self, start: int, read: Callable[[], Value | None]) -> Value | None:
        """What `read` makes of it, or nothing, back at the start."""
        depth, bars = self._depth, self._inside_bars
        try:
            value = read()
        except Unreadable:
            value = None
        if value is None:
            self._position, self._depth, self._inside_bars = start, depth, bars
        return value

    def _bracketed_set(self) -> Value | None:
        self._need("{")
        items = self._items("}")
        follows = self._peek()
        return Collection("set", items) if len(items) > 1 and follows is None else None

    def _sequence(self) -> Value | None:
        opening = self._need("(", "[")
        if self._take(")", "]"):
            raise Unreadable("nothing between brackets")
        items = [self._nested(self._relation)]
        while self._take(",", ";"):
            items.append(self._nested(self._relation))
        closing = self._need(*_CLOSING[opening])
        if len(items) == 1 and opening + closing != "[]":
            return None
        return Sequence(opening + closing, tuple(items)) if len(items) > 1 else None

    def _items(self, closing: str) -> tuple[Value, ...]:
        items: list[Value] = []
        while not self._take(closing):
            if items:
                self._need(",", ";")
            items.append(self._nested(self._relation))
        return tuple(items)

    def _matrix(self) -> Value:
        rows: list[tuple[Value, ...]] = []
        while True:
            row = [self._nested(self._relation)]
            while self._take("&"):
                row.append(self._nested(self._relation))
            rows.append(tuple(row))
            more = self._take("\\\\")
            if self._take(r"\end"):
                break
            if not more:
                raise Unreadable("the matrix does not end")
        if len({len(row) for row in rows}) != 1:
            raise Unreadable("the matrix has rows of different lengths")
        return Matrix(tuple(rows))

    def _nested(self, read: Callable[[], Value]) -> Value:
        with_depth = self._enter()
        value = read()
        self._depth = with_depth - 1
        return value

    def _enter(self) -> int:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        return self._depth

    # Expressions, loosest first.

    def _sum(self) -> Expression:
        depth = self._enter()
        total = self._signed()
        while (token := self._peek()) is not None:
            if token.text == "+":
                self._position += 1
                total = algebra.add(total, self._product())
            elif token.text == "-":
                self._position += 1
                total = algebra.subtract(total, self._product())
            elif token.text in (r"\pm", r"\mp"):
                self._position += 1
                total = algebra.add(total, self._plus_minus(token.text, self._product()))
            else:
                break
        self._depth = depth - 1
        return total

    def _signed(self) -> Expression:
        if self._take("+"):
            return self._signed_again(self._signed)
        if self._take("-"):
            return algebra.negate(self._signed_again(self._signed))
        token = self._peek()
        if token is not None and self._take(r"\pm", r"\mp"):
            return self._plus_minus(token.text, self._product())
        return self._product()

    def _signed_again(self, read: Callable[[], Expression]) -> Expression:
        depth = self._enter()
        value = read()
        self._depth = depth - 1
        return value

    def _plus_minus(self, token: str, value: Expression) -> Expression:
        positive = (token == r"\pm") == (self._sign > 0)
        return value if positive else algebra.negate(value)

    def _product(self) -> Expression:
        product = self._power()
        while (token := self._peek()) is not None:
            if token.text in ("*", r"\cdot", r"\times"):
                self._position += 1
                product = algebra.multiply(product, self._factor())
            elif token.text in ("/", r"\div"):
                self._position += 1
                product = algebra.divide(product, self._factor())
            elif self._begins_operand(token):
                product = self._juxtaposed(product, token)
            else:
                break
        return product

    def _factor(self) -> Expression:
        """A power, which after an operator may have a sign."""
        if self._take("-"):
            return algebra.negate(self._signed_again(self._factor))
        return self._power()

    def _begins_operand(self, token: Token) -> bool:
        if token.kind == "number":
            before = self._tokens[self._position - 1]
            # "1 2" is not a product, and neither is "x2".
            return before.text in (")", "}", "]")
        if token.kind == "name":
            return token.text not in ("or", "and")
        if token.kind == "command":
            known = _GREEK | algebra.FUNCTIONS | {"frac", "sqrt", "pi", "log", "ln", "lg", "binom"}
            return token.text[1:] in known or token.text == r"\infty"
        return token.text in ("(", "{") or (token.text == "|" and not self._inside_bars)

    def _juxtaposed(self, left: Expression, token: Token) -> Expression:
        before = self._tokens[self._position - 1]
        position = self._position
        right = self._power()
        if before.kind == "number" and token.text == r"\frac":
            whole, part = left.rational(), right.rational()
            simple = position + 1 < len(self._tokens) and part is not None and 0 < part < 1
            if whole is not None and whole.denominator == 1 and simple:
                return algebra.add(left, right)
        return algebra.multiply(left, right)

    def _power(self) -> Expression:
        base = self._postfix()
        if self._take("^", "**"):
            if self._take(r"\degree", r"\circ"):
                return self._degrees(base)
            return algebra.power(base, self._script())
        return base

    def _postfix(self) -> Expression:
        value = self._operand()
        while True:
            if self._take("!"):
                value = _factorial(value)
            elif self._take(r"\degree"):
                value = self._degrees(value)
            elif self._at("{") and self._peek(1) == Token("command", r"\degree"):
                raise Unreadable("a degree sign in braces")
            else:
                return value

    def _degrees(self, value: Expression) -> Expression:
        """A degree sign at the end is a unit, inside an expression it is a factor."""
        if self._peek() is None:
            return value
        return algebra.divide(
            algebra.multiply(value, algebra.constant("pi")), algebra.number(180)
        )

    def _script(self) -> Expression:
        """What stands behind `^` or as the argument of a command: a group or one token."""
        depth = self._enter()
        if self._take("{"):
            if self._take(r"\circ", r"\degree"):
                raise Unreadable("degrees in braces")
            value = self._sum()
            self._need("}")
        elif self._take("-"):
            value = algebra.negate(self._script())
        else:
            value = self._postfix()
        self._depth = depth - 1
        return value

    def _operand(self) -> Expression:
        token = self._peek()
        if token is None:
            raise Unreadable("the expression ends too early")
        self._position += 1
        if token.kind == "number":
            return algebra.number(_decimal(token.text))
        if token.kind == "name":
            return self._named(token.text)
        if token.kind == "command":
            return self._command(token.text[1:])
        if token.text in ("(", "[", "{"):
            value = self._sum()
            self._need({"(": ")", "[": "]", "{": "}"}[token.text])
            return value
        if token.text == "|":
            self._inside_bars += 1
            value = self._sum()
            self._need("|")
            self._inside_bars -= 1
            return _absolute(value)
        raise Unreadable(f"unexpected {token.text!r}")

    def _named(self, name: str) -> Expression:
        if len(name) > 1 and name != "infinity" and name != "inf":
            return self._command(name)
        if name in ("inf", "infinity"):
            return algebra.constant("infinity")
        if name == "e":
            return algebra.constant("e")
        if name == "i":
            return algebra.imaginary()
        return algebra.variable(name + self._subscript())

    def _subscript(self) -> str:
        if not self._take("_"):
            return ""
        if not self._take("{"):
            token = self._peek()
            if token is None or token.kind not in ("number", "name"):
                raise Unreadable("an empty subscript")
            self._position += 1
            return f"_{token.text}"
        text = "_"
        while not self._take("}"):
            token = self._peek()
            if token is None or token.kind == "command":
                raise Unreadable("the subscript does not end")
            text += token.text
            self._position += 1
        return text

    def _command(self, name: str) -> Expression:
        if name in _GREEK:
            return algebra.variable(name + self._subscript())
        if name in ("pi", "infty"):
            return algebra.constant("pi" if name == "pi" else "infinity")
        if name == "frac":
            top, bottom = self._argument(), self._argument()
            return algebra.divide(top, bottom)
        if name == "binom":
            return _binomial(self._argument(), self._argument())
        if name in ("sqrt", "cbrt"):
            return self._root(3 if name == "cbrt" else 2)
        if name == "exp":
            return algebra.power(algebra.constant("e"), self._function_argument())
        if name == "abs":
            return _absolute(self._function_argument())
        if name in ("log", "ln", "lg"):
            return self._logarithm(name)
        if (function := _ARC.get(name, name)) in algebra.FUNCTIONS:
            return self._function(function)
        raise Unreadable(f"unknown command {name!r}")

    def _argument(self) -> Expression:
        """A group, or one digit or letter: `\\frac12`."""
        token = self._peek()
        if token is not None and token.kind == "number" and len(token.text) > 1:
            if not token.text.isdigit():
                raise Unreadable("a decimal without braces")
            rest = Token("number", token.text[1:])
            self._tokens = [*self._tokens]
            self._tokens[self._position : self._position + 1] = [Token("number", token.text[0]), rest]
        return self._script()

    def _root(self, degree: int) -> Expression:
        index = algebra.number(degree)
        if self._take("["):
            index = self._sum()
            self._need("]")
        token = self._peek()
        plain = token is not None and token.text != "{" and token.kind != "command"
        radicand = self._postfix() if plain else self._script()
        return algebra.power(radicand, algebra.divide(algebra.number(1), index))

    def _logarithm(self, name: str) -> Expression:
        base = None
        if self._take("_"):
            base = self._script()
        argument = algebra.logarithm(self._function_argument())
        if base is None and name == "lg":
            base = algebra.number(10)
        # `log` without a base is the natural one, as mathematicians and programs have it.
        return argument if base is None else algebra.divide(argument, algebra.logarithm(base))

    def _function(self, name: str) -> Expression:
        exponent = self._script() if self._take("^") else algebra.number(1)
        argument = self._function_argument()
        if exponent.rational() == -1:
            name, exponent = f"arc{name}", algebra.number(1)
            if name not in algebra.FUNCTIONS:
                raise Unreadable(f"no function {name}")
        value = algebra.number(0) if _is_odd_zero(name, argument) else algebra.function(name, argument)
        return algebra.power(value, exponent)

    def _function_argument(self) -> Expression:
        """In brackets, or the factors that follow: `sin 2x`."""
        depth = self._enter()
        if self._at("(", "{", "["):
            value = self._operand()
        else:
            value = self._power()
            while (token := self._peek()) is not None and token.kind in ("name", "number"):
                if not self._begins_operand(token) or len(token.text) > 1:
                    break
                value = algebra.multiply(value, self._power())
        self._depth = depth - 1
        return value


def _decimal(text: str) -> Fraction:
    mantissa, _, exponent = text.lower().partition("e")
    if len(mantissa) > 1000 or abs(int(exponent or 0)) > 1000:
        raise algebra.TooComplex("the number is too long")
    return Fraction(mantissa.rstrip(".") or "0") * Fraction(10) ** int(exponent or 0)


def _factorial(value: Expression) -> Expression:
    number = value.rational()
    if number is None or number.denominator != 1 or not 0 <= number:
        raise Unreadable("a factorial of what is not a whole number")
    if number > MAX_FACTORIAL:
        raise algebra.TooComplex("the factorial is too large")
    return algebra.number(math.factorial(int(number)))


def _binomial(top: Expression, bottom: Expression) -> Expression:
    n, k = top.rational(), bottom.rational()
    if n is None or k is None or n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
        raise Unreadable("a binomial of what is not whole numbers")
    if n > MAX_FACTORIAL:
        raise algebra.TooComplex("the binomial is too large")
    return algebra.number(math.comb(int(n), int(k)))


def _absolute(value: Expression) -> Expression:
    number = value.rational()
    return algebra.function("abs", value) if number is None else algebra.number(abs(number))


def _is_odd_zero(name: str, argument: Expression) -> bool:
    return argument.is_zero() and name in ("sin", "tan", "sinh", "tanh", "arcsin", "arctan")
