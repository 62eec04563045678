"""Makes one value of expressions with `=`, `<` and the like between them."""

from __future__ import annotations

from . import algebra
from .algebra import Expression
from .tokens import Unreadable
from .values import Number, Relation, Sequence, Value


def relation(values: list[Value], operators: list[str]) -> Value:
    """One relation; of a chain of equations the last, of `a < x < b` the interval."""
    if operators == ["in"]:
        return values[1]
    expressions = [value.expression for value in values if isinstance(value, Number)]
    if all(operator == "=" for operator in operators):
        left = values[-2]
        if not isinstance(left, Number):
            raise Unreadable("an equation between collections")
        if len(operators) > 1 and isinstance(values[0], Number):
            return Relation("=", values[0].expression, values[-1])
        return Relation("=", left.expression, values[-1])
    if len(expressions) != len(values):
        raise Unreadable("an inequality between collections")
    if any(operator in (">", ">=") for operator in operators):
        if any(operator in ("<", "<=") for operator in operators):
            raise Unreadable("inequalities in both directions")
        flipped = {">": "<", ">=": "<=", "=": "=", "!=": "!="}
        operators = [flipped[operator] for operator in reversed(operators)]
        expressions.reverse()
    if len(operators) == 1:
        return _inequality(operators[0], expressions[0], expressions[1])
    if len(operators) == 2 and _is_variable(expressions[1]) and "!=" not in operators:
        brackets = ("[" if operators[0] == "<=" else "(") + ("]" if operators[1] == "<=" else ")")
        return Sequence(brackets, (Number(expressions[0]), Number(expressions[2])))
    raise Unreadable("a chain of relations")


def _inequality(operator: str, left: Expression, right: Expression) -> Value:
    infinity = algebra.constant("infinity")
    if operator != "!=":
        if _is_variable(left) and not right.variables():
            closing = "]" if operator == "<=" else ")"
            return Sequence("(" + closing, (Number(algebra.negate(infinity)), Number(right)))
        if _is_variable(right) and not left.variables():
            opening = "[" if operator == "<=" else "("
            return Sequence(opening + ")", (Number(left), Number(infinity)))
    return Relation(operator, left, Number(right))


def _is_variable(expression: Expression) -> bool:
    names = expression.variables()
    return len(names) == 1 and expression == algebra.variable(next(iter(names)))
