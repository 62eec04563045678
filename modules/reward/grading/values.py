"""What an answer can be."""

from __future__ import annotations

from dataclasses import dataclass

from .algebra import Expression


@dataclass(frozen=True)
class Number:
    """A number or an expression; `percent` says that it was written with a percent sign.

    `expression` is the written number itself: 50 for `50%`.
    """

    expression: Expression
    percent: bool = False


@dataclass(frozen=True)
class Sequence:
    """Values in order between brackets: a tuple, a point, a vector or an interval.

    `brackets` is `()`, `[]`, `[)` or `(]`; a ratio `a:b` has `::`.
    """

    brackets: str
    items: tuple[Value, ...]


@dataclass(frozen=True)
class Matrix:
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Collection:
    """Values without order.

    `kind` is `set` for braces, `list` for values separated by commas or words, `union` for a union
    of sets and intervals.
    """

    kind: str
    items: tuple[Value, ...]


@dataclass(frozen=True)
class Relation:
    """An equation or an inequality; `operator` is `=`, `!=`, `<` or `<=`."""

    operator: str
    left: Expression
    right: Value


@dataclass(frozen=True)
class Text:
    """What does not read as mathematics, in lower case and without decoration."""

    text: str


Value = Number | Sequence | Matrix | Collection | Relation | Text
