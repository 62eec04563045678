"""What is kept of the occurrences of a field while its message is not at its end, and made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..plan import Shape
from . import scalars, skim
from .errors import BadInput
from .reader import BYTES, VARINT, utf8

# The parts of one message: where each begins and ends.
Spans = list[tuple[int, int]]
# Makes a value of what was kept of a field.
Make = Callable[[bytes, Any, int], Any]
# Takes one occurrence, of a wire type and with a value or the place of one, to what was kept before.
Keep = Callable[[bytes, Any, int, int, int], Any]


def keeper(shape: Shape | None) -> Keep:
    """What to keep of an occurrence after another; None of a wire type that is another's."""
    if shape is None or shape.message:
        return keep_part
    if shape.is_bytes:
        return lambda data, slot, kind, begin, end: (begin, end) if kind == BYTES else None
    wire_type = scalars.wire_type(shape.scalar) if shape.scalar else VARINT
    if wire_type == BYTES:
        return lambda data, slot, kind, begin, end: utf8(data, begin, end) if kind == BYTES else None
    return lambda data, slot, kind, value, end: value if kind == wire_type else None


def keep_part(data: bytes, slot: Any, kind: int, begin: int, end: int) -> Spans | None:
    """One more part of a message."""
    if kind != BYTES:
        return None
    if slot is None:
        return [(begin, end)]
    parts: Spans = slot
    parts.append((begin, end))
    return parts


def nothing(data: bytes, slot: Any, depth: int) -> None:
    """A case without a payload is a message whose fields do not matter."""
    skim.unknown(data, slot)


def one_char(data: bytes, slot: Any, depth: int) -> str:
    """The only character of a text."""
    if slot is None or len(slot) != 1:
        raise BadInput("must be exactly one Unicode scalar value")
    return str(slot)


def made_at(key: Any, make: Make, data: bytes, value: Any, depth: int) -> Any:
    """The value of an entry of a map."""
    try:
        return make(data, value, depth)
    except BadInput as error:
        name = f'"{key}"' if isinstance(key, str) else str(key).lower()
        raise error.within(f"[{name}]") from None


def same(value: Any) -> Any:
    """The value itself."""
    return value
