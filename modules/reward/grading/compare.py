"""Whether two answers have the same value."""

from __future__ import annotations

import re
from fractions import Fraction

from . import algebra
from .algebra import TooComplex
from .parse import parse
from .tokens import MAX_LENGTH, Unreadable
from .values import Collection, Matrix, Number, Relation, Sequence, Text, Value

MAX_ITEMS = 64

_WRAPPER = re.compile(r"^\\(?:text|textbf|mathrm|mathbf|mbox|boxed|fbox)\s*\{([^{}]*)\}$")
_CHOICE = re.compile(r"^\(?([A-Ja-j])\)?[.:)]?$")
_LABELLED_CHOICE = re.compile(r"^\(?([A-J])[.):]\s+\S")
_UNIT_COMMAND = re.compile(
    r"^(?P<value>.*?\S)\s*(?:\\[ ,;]|~)*\\(?:text|textrm|mathrm|mbox|textbf)\s*"
    r"\{(?P<unit>[^{}]*)\}\s*(?P<power>\^\{?[23]\}?)?\s*$",
    re.DOTALL,
)
_UNIT_WORD = re.compile(
    r"^(?P<value>[-+]?[\d.,/\s]*\d(?:\s*[*x]\s*10\^\{?-?\d+\}?)?|[-+]?\\frac\{\d+\}\{\d+\})"
    r"(?P<unit>\s*(?!or\b|and\b)[A-Za-zµμ]{2}(?:[A-Za-zµμ\s./²³]|\^\{?[23]\}?)*|\s+[A-Za-z])$"
)
# Words that would else be products of two variables.
_SHORT_WORDS = frozenset(("no", "on", "is", "it", "so", "to", "up", "we", "us", "at", "in", "if"))
_CURRENCY = re.compile(r"^(?P<sign>-?)\s*(?:\\?\$|€|£|¥)\s*(?=[\d.(\\-])")


def equivalent(answer: str, reference: str, tolerance: float | None = None) -> bool:
    """Whether an answer has the value of the reference."""
    if MAX_LENGTH < max(len(answer), len(reference)):
        return bool(answer.strip()) and answer.strip() == reference.strip()
    mine, theirs = _clean(answer), _clean(reference)
    if not mine or not theirs:
        return False
    if mine == theirs:
        return True
    if _CHOICE.match(mine) or _CHOICE.match(theirs):
        letters = [_CHOICE.match(text) or _LABELLED_CHOICE.match(text) for text in (mine, theirs)]
        if letters[0] is not None and letters[1] is not None:
            return letters[0][1].lower() == letters[1][1].lower()
    left, right = _read(mine), _read(theirs)
    if not isinstance(left, Text) and not isinstance(right, Text):
        if _same(left, right, tolerance):
            return True
    elif isinstance(left, Text) and isinstance(right, Text) and left == right:
        return True
    return _same_with_units(mine, theirs, tolerance)


def _clean(text: str) -> str:
    """Without what surrounds an answer: spaces, dollar signs, a full stop, `\\text{…}`."""
    text = text.strip()
    while True:
        before = text
        text = text.strip().rstrip(".").strip()
        for opening, closing in (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**")):
            if len(text) > len(opening) + len(closing) - 1 and text.startswith(opening):
                if text.endswith(closing) and not text.endswith("\\" + closing):
                    inner = text[len(opening) : -len(closing)]
                    text = inner if opening not in inner else text
        if (wrapped := _WRAPPER.match(text)) is not None:
            text = wrapped[1]
        if text == before:
            return text


def _read(text: str) -> Value:
    letters = text.isalpha() and text.isascii() and text not in ("inf", "infinity")
    if letters and (len(text) > 2 or text.lower() in _SHORT_WORDS):
        return _text(text)
    try:
        return parse(text)
    except (Unreadable, TooComplex, ZeroDivisionError, OverflowError):
        return _text(text)


def _text(text: str) -> Text:
    text = re.sub(r"\\(?:text|textbf|mathrm|mbox)\s*\{([^{}]*)\}", r"\1", text)
    text = re.sub(r"\\[,;:! ]|[$~]", " ", text)
    return Text(" ".join(text.lower().split()).strip(" .,:;!\"'"))


def _same_with_units(answer: str, reference: str, tolerance: float | None) -> bool:
    """Equal without units, where one side has none or both have the same."""
    (mine, unit), (theirs, other) = _split_unit(answer), _split_unit(reference)
    if (mine, theirs) == (answer, reference) or (unit and other and unit != other):
        return False
    left, right = _read(mine), _read(theirs)
    if isinstance(left, Text) or isinstance(right, Text):
        return False
    return _same(left, right, tolerance)


def _split_unit(text: str) -> tuple[str, str]:
    if (currency := _CURRENCY.match(text)) is not None:
        return _clean(currency["sign"] + text[currency.end() :]), "dollar"
    for pattern in (_UNIT_COMMAND, _UNIT_WORD):
        if (match := pattern.match(text)) is not None:
            power = match.groupdict().get("power") or ""
            return _clean(match["value"]), _unit(match["unit"] + power)
    return text, ""


_SYNONYMS = {
    "usd": "dollar", "buck": "dollar", "degree": "", "percent": "", "centimeter": "cm",
    "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "millimetre": "mm", "gram": "g", "kilogram": "kg", "kg": "kg",
    "second": "s", "sec": "s", "minute": "min", "hour": "h", "hr": "h", "inche": "inch",
    "in": "inch", "foot": "ft", "feet": "ft", "liter": "l", "litre": "l", "unit": "",
}  # fmt: skip


def _unit(text: str) -> str:
    """A unit in one spelling; what says nothing (`degrees`, `units`) counts as none."""
    text = text.lower().replace("²", "^2").replace("³", "^3")
    text = re.sub(r"[{}.\\]", "", text)
    text = re.sub(r"\bsquared\b", "^2", re.sub(r"\bcubed\b", "^3", text))
    square = re.match(r"\s*(square|cubic|sq|cu)\s+(.*)", text)
    if square is not None:
        text = f"{square[2]}^{2 if square[1].startswith('s') else 3}"
    words = re.split(r"\s+", re.sub(r"\s*\^\s*", "^", text).strip())
    return " ".join(filter(None, (_unit_word(word) for word in words)))


def _unit_word(word: str) -> str:
    name, caret, power = word.partition("^")
    singular = name[:-1] if len(name) > 2 and name.endswith("s") else name
    known = _SYNONYMS.get(name, _SYNONYMS.get(singular, singular))
    return known + caret + power if known else ""


def _same(a: Value, b: Value, tolerance: float | None) -> bool:
    if _size(a) > MAX_ITEMS or _size(b) > MAX_ITEMS:
        return False
    try:
        return _same_value(a, b, tolerance)
    except (TooComplex, ZeroDivisionError, OverflowError):
        return False


def _same_value(a: Value, b: Value, tolerance: float | None) -> bool:
    if isinstance(a, Relation) and isinstance(b, Relation):
        return _same_relation(a, b, tolerance)
    if isinstance(a, Relation) or isinstance(b, Relation):
        relation, other = (a, b) if isinstance(a, Relation) else (b, a)
        value = _assigned(relation)
        return value is not None and _same_value(value, other, tolerance)
    if isinstance(a, Number) and isinstance(b, Number):
        return _same_number(a, b, tolerance)
    if isinstance(a, Matrix) or isinstance(b, Matrix):
        return _same_matrix(a, b, tolerance)
    if isinstance(a, Sequence) and isinstance(b, Sequence):
        # Written with one kind of bracket, points and vectors are the same; intervals are not.
        return a.brackets == b.brackets and _in_order(a.items, b.items, tolerance)
    if isinstance(a, Collection) and isinstance(b, Collection):
        return _same_collection(a, b, tolerance)
    if isinstance(a, Collection) or isinstance(b, Collection):
        collection, other = (a, b) if isinstance(a, Collection) else (b, a)
        return _collection_as(collection, other, tolerance)
    return False


def _same_number(a: Number, b: Number, tolerance: float | None) -> bool:
    if a.percent == b.percent:
        return _same_expression(a, b, tolerance)
    # A bare number beside a percentage may be the percentage or the share.
    percentage, bare = (a, b) if a.percent else (b, a)
    share = Number(algebra.divide(percentage.expression, algebra.number(100)))
    return _same_expression(share, bare, tolerance) or _same_expression(
        Number(percentage.expression), bare, tolerance
    )


def _same_expression(a: Number, b: Number, tolerance: float | None) -> bool:
    if algebra.equal(a.expression, b.expression):
        return True
    if tolerance is None or a.expression.variables() or b.expression.variables():
        return False
    left, right = a.expression.rational(), b.expression.rational()
    if left is not None and right is not None:
        # Within the tolerance of either, so that equality stays symmetric.
        return abs(left - right) <= Fraction(tolerance) * max(abs(left), abs(right))
    try:
        mine, theirs = a.expression.evaluate({}), b.expression.evaluate({})
    except (ArithmeticError, ValueError):
        return False
    difference = abs(mine - theirs)
    return difference <= tolerance * max(abs(mine), abs(theirs))


def _same_relation(a: Relation, b: Relation, tolerance: float | None) -> bool:
    if a.operator != b.operator:
        return False
    if isinstance(a.right, Number) and isinstance(b.right, Number):
        left = algebra.subtract(a.left, a.right.expression)
        right = algebra.subtract(b.left, b.right.expression)
        factor = algebra.proportional(left, right)
        if factor is not None and (factor > 0 or a.operator in ("=", "!=")):
            return True
    if a.operator != "=":
        return False
    mine, theirs = _assigned(a), _assigned(b)
    same_name = algebra.equal(a.left, b.left)
    return bool(mine and theirs) and same_name and _same_value(mine, theirs, tolerance)


def _assigned(relation: Relation) -> Value | None:
    """What an equation gives to a name: 5 of `x = 5`, and `2x` of `f(x) = 2x`."""
    if relation.operator != "=":
        return None
    if _is_name(relation.left):
        return relation.right
    if isinstance(relation.right, Number) and _is_name(relation.right.expression):
        return Number(relation.left)
    return None


def _is_name(expression: algebra.Expression) -> bool:
    if len(expression.numerator) != 1 or expression.denominator != algebra.ONE:
        return False
    ((key, coefficient),) = expression.numerator.items()
    return coefficient == 1 and bool(key) and all(
        atom.kind == "variable" and exponent == 1 for atom, exponent in key
    )


def _same_matrix(a: Value, b: Value, tolerance: float | None) -> bool:
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return len(a.rows) == len(b.rows) and all(
            _in_order(left, right, tolerance) for left, right in zip(a.rows, b.rows)
        )
    matrix, other = (a, b) if isinstance(a, Matrix) else (b, a)
    if not isinstance(matrix, Matrix) or not isinstance(other, Sequence):
        return False
    if len(matrix.rows) == 1:
        return _in_order(matrix.rows[0], other.items, tolerance)
    column = tuple(row[0] for row in matrix.rows)
    return len(matrix.rows[0]) == 1 and _in_order(column, other.items, tolerance)


def _same_collection(a: Collection, b: Collection, tolerance: float | None) -> bool:
    if "union" in (a.kind, b.kind) and a.kind != b.kind:
        return False
    if "set" in (a.kind, b.kind):
        return _in_any_order(_distinct(a.items), _distinct(b.items), tolerance)
    return _in_any_order(a.items, b.items, tolerance)


def _collection_as(collection: Collection, other: Value, tolerance: float | None) -> bool:
    """A collection beside a value of another kind."""
    if isinstance(other, Sequence):
        # "x = 1, y = 2" is the point (1, 2).
        assigned = [
            _assigned(item) for item in collection.items if isinstance(item, Relation)
        ]
        values = tuple(value for value in assigned if value is not None)
        complete = collection.kind == "list" and len(values) == len(collection.items)
        return complete and other.brackets == "()" and _in_order(values, other.items, tolerance)
    # A set or a list of one is that one.
    items = _distinct(collection.items)
    return len(items) == 1 and _same_value(items[0], other, tolerance)


def _in_order(a: tuple[Value, ...], b: tuple[Value, ...], tolerance: float | None) -> bool:
    return len(a) == len(b) and all(_same_value(x, y, tolerance) for x, y in zip(a, b))


def _in_any_order(a: tuple[Value, ...], b: tuple[Value, ...], tolerance: float | None) -> bool:
    if len(a) != len(b):
        return False
    left = list(b)
    for item in a:
        for index, candidate in enumerate(left):
            if _same_value(item, candidate, tolerance):
                del left[index]
                break
        else:
            return False
    return True


def _distinct(items: tuple[Value, ...]) -> tuple[Value, ...]:
    kept: list[Value] = []
    for item in items:
        if not any(_same_value(item, other, None) for other in kept):
            kept.append(item)
    return tuple(kept)


def _size(value: Value) -> int:
    if isinstance(value, (Sequence, Collection)):
        return sum(_size(item) for item in value.items)
    if isinstance(value, Matrix):
        return sum(_size(item) for row in value.rows for item in row)
    return 1
