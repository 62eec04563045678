"""Packed lists of numbers without numpy, as Python lists."""

from __future__ import annotations

import array
import math
import sys
from typing import Any

from . import scalars
from .errors import BadInput, BadValue, FieldError
from .reader import TRUNCATED, varint

_CODES = {"f32": ("f", 4), "f64": ("d", 8)}


def read(scalar: str, data: bytes, begin: int, end: int, at: int) -> list[Any]:
    """The numbers between two places; `at` is where the first stands in its list, for errors."""
    if scalar in _CODES:
        code, size = _CODES[scalar]
        if (end - begin) % size:
            raise BadInput(TRUNCATED)
        floats = array.array(code, data[begin:end])
        if sys.byteorder == "big":
            floats.byteswap()
        return [value if value == value else math.nan for value in floats]
    convert = scalars.reader(scalar)
    values = []
    while begin < end:
        raw, begin = varint(data, begin, end)
        try:
            values.append(convert(raw))
        except BadInput as error:
            raise error.within(f"[{at + len(values)}]") from None
    return values


def join(scalar: str, parts: list[Any]) -> list[Any]:
    """One list of several."""
    return parts[0] if len(parts) == 1 else [one for part in parts for one in part]


def write(scalar: str, values: Any) -> bytes:
    """The bytes of a list of numbers."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise BadValue(f"must be a list of numbers, not {type(values).__name__}")
    convert = scalars.writer(scalar)
    numbers = []
    for at, value in enumerate(values):
        try:
            numbers.append(convert(value))
        except FieldError as error:
            raise error.within(f"[{at}]") from None
    if scalar in _CODES:
        _, size = _CODES[scalar]
        return b"".join(bits.to_bytes(size, "little") for bits in numbers)
    return b"".join(map(encode_varint, numbers))


def encode_varint(value: int) -> bytes:
    """A varint. Negative numbers have 64 bits."""
    if 0 <= value < 0x80:
        return _SHORT[value]
    value &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_SHORT = [bytes([value]) for value in range(0x80)]
