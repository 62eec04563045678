"""Checks what is read and then does not count: it must be well-formed all the same."""

from __future__ import annotations

from typing import Any

from ..plan import Plan, Shape
from . import plain, scalars
from .errors import BadInput
from .reader import BYTES, MAX_DEPTH, TOO_DEEP, fields, utf8


def unknown(data: bytes, spans: Any) -> None:
    """A message of which nothing is known."""
    for begin, end in spans or ():
        for _ in fields(data, begin, end):
            pass


def discarded(plan: Plan, shape: Shape | None, data: bytes, slot: Any, depth: int) -> None:
    """What was kept of a case that another one replaced."""
    if shape is None:
        unknown(data, slot)
    elif shape.message:
        _message(plan, shape.message, data, slot, depth)


def _message(plan: Plan, name: str, data: bytes, spans: Any, depth: int) -> None:
    if depth == MAX_DEPTH:
        raise BadInput(TOO_DEEP)
    members = {member.number: member for member in plan.messages[name].fields}
    for begin, end in spans:
        for number, kind, value, at in fields(data, begin, end):
            member = members.get(number)
            if member is None or kind != BYTES:
                continue
            try:
                _occurrence(plan, member.label, member.shape, data, value, at, depth + 1)
            except BadInput as error:
                raise error.within(member.proto) from None


def _occurrence(
    plan: Plan, label: str, shape: Shape | None, data: bytes, begin: int, end: int, depth: int
) -> None:
    if shape is None or label == "map":
        unknown(data, [(begin, end)])
    elif shape.message:
        _message(plan, shape.message, data, [(begin, end)], depth)
    elif shape.scalar in ("string", "char"):
        utf8(data, begin, end)
    elif label == "repeated" and not shape.is_bytes:
        scalar = shape.scalar or "u64"
        raw = "u64" if scalars.wire_type(scalar) == 0 else scalar
        plain.read(raw, data, begin, end, 0)
