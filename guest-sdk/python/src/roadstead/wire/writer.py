"""The pieces that an encoder puts messages together from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..plan import Shape
from . import scalars
from .errors import BadValue, FieldError
from .plain import encode_varint
from .reader import FIXED32, FIXED64

# What a message is put together from.
Parts = list[Any]
# Adds a value to the parts, at a depth of nesting, and returns how many bytes that is.
Write = Callable[[Any, Parts, int], int]


def extend(out: Parts, *parts: Any) -> int:
    """Adds parts as they are."""
    out.extend(parts)
    return sum(map(len, parts))


def packed(tag: bytes, numbers: Any, out: Parts) -> int:
    """Adds a packed list, if there is anything in it."""
    return extend(out, tag + encode_varint(len(numbers)), numbers) if len(numbers) else 0


def packer(number: int, scalar: str) -> Callable[[int], bytes]:
    """Makes the bytes of a number with its tag."""
    wire_type = scalars.wire_type(scalar)
    tag = encode_varint(number << 3 | wire_type)
    length = {FIXED32: 4, FIXED64: 8}.get(wire_type)
    if length is None:
        return lambda bits: tag + encode_varint(bits)
    return lambda bits: tag + bits.to_bytes(length, "little")


def prepared(shape: Shape) -> Callable[[Any], Any]:
    """Makes the bytes of a text or of bytes, without tag and length."""
    if shape.is_bytes:
        return as_bytes
    return as_char if shape.scalar == "char" else as_text


def as_text(value: Any) -> bytes:
    """The bytes of a text."""
    if not isinstance(value, str):
        raise BadValue(f"must be a str, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise BadValue("must be text without surrogates") from None


def as_char(value: Any) -> bytes:
    """The bytes of a single character."""
    if not isinstance(value, str) or len(value) != 1:
        raise BadValue("must be a str of exactly one character")
    return as_text(value)


def as_bytes(value: Any) -> Any:
    """Anything that is bytes."""
    if isinstance(value, (bytes, bytearray)):
        return value
    try:
        view = memoryview(value)
        return view.cast("B") if view.nbytes else b""
    except TypeError:
        raise BadValue(f"must be bytes, not {type(value).__name__}") from None


def as_list(values: Any) -> Any:
    """Anything that is a list."""
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise BadValue(f"must be a list, not {type(values).__name__}")
    return values


def element(at: int, convert: Callable[[Any], int], value: Any) -> int:
    """The number of an element, whose place is told if it is none."""
    try:
        return convert(value)
    except FieldError as error:
        raise error.within(f"[{at}]") from None


def named(name: str, write: Write) -> Write:
    """The same, with a name in the path of what is wrong."""
    def inner(value: Any, out: Parts, depth: int) -> int:
        try:
            return write(value, out, depth)
        except FieldError as error:
            raise error.within(name) from None

    return inner
