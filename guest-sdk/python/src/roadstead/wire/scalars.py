"""Single numbers and texts, between their wire form and Python."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .errors import BadInput, BadValue
from .reader import BYTES, FIXED32, FIXED64, VARINT

_F32, _F64 = struct.Struct("<f"), struct.Struct("<d")
# The one NaN that crosses the border.
NAN_32, NAN_64 = 0x7FC0_0000, 0x7FF8_0000_0000_0000


@dataclass(frozen=True, slots=True)
class Integer:
    """A type of whole numbers."""

    bits: int
    signed: bool

    @property
    def least(self) -> int:
        """The smallest number of the type."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def most(self) -> int:
        """The largest."""
        return (1 << self.bits - self.signed) - 1

    @property
    def range(self) -> str:
        """What to say of a number that is not of the type."""
        return f"must be {self.least} to {self.most}"

    def from_wire(self, raw: int) -> int:
        """The number of a varint. Bits that the wire's type does not have are cut off."""
        if self.bits < 64:
            raw &= 0xFFFF_FFFF
        value = raw >> 1 ^ -(raw & 1) if self.signed else raw
        if self.bits < 32 and not self.least <= value <= self.most:
            raise BadInput(self.range)
        return value

    def to_wire(self, value: Any) -> int:
        """The varint of a number."""
        try:
            number = value.__index__()
        except AttributeError:
            raise BadValue(f"must be an integer, not {type(value).__name__}") from None
        if isinstance(value, bool) or not self.least <= number <= self.most:
            raise BadValue(self.range)
        return (number << 1 ^ number >> 63) if self.signed else int(number)


INTEGERS = {
    f"{'s' if signed else 'u'}{bits}": Integer(bits, signed)
    for signed in (False, True)
    for bits in (8, 16, 32, 64)
}


def wire_type(scalar: str) -> int:
    """How a scalar lies on the wire."""
    return {"f32": FIXED32, "f64": FIXED64, "string": BYTES, "char": BYTES}.get(scalar, VARINT)


def reader(scalar: str) -> Callable[[int], Any]:
    """Makes a number of what stands on the wire."""
    match scalar:
        case "bool":
            return bool
        case "f32":
            return _read_f32
        case "f64":
            return _read_f64
    return INTEGERS[scalar].from_wire


def writer(scalar: str) -> Callable[[Any], int]:
    """Makes what stands on the wire of a number: a varint, or the bits of a float."""
    match scalar:
        case "bool":
            return _write_bool
        case "f32":
            return _write_f32
        case "f64":
            return _write_f64
    return INTEGERS[scalar].to_wire


def _read_f32(bits: int) -> float:
    return float(_F32.unpack(bits.to_bytes(4, "little"))[0])


def _read_f64(bits: int) -> float:
    return float(_F64.unpack(bits.to_bytes(8, "little"))[0])


def _write_bool(value: Any) -> int:
    # numpy's booleans too.
    if value is True or value is False or type(value).__name__ == "bool":
        return int(value)
    raise BadValue(f"must be a bool, not {type(value).__name__}")


def _write_f32(value: Any) -> int:
    number = _float(value)
    if math.isnan(number):
        return NAN_32
    try:
        return int.from_bytes(_F32.pack(number), "little")
    except OverflowError:
        # Rounded, as a float of 32 bits has it.
        return 0xFF80_0000 if number < 0 else 0x7F80_0000


def _write_f64(value: Any) -> int:
    number = _float(value)
    return NAN_64 if math.isnan(number) else int.from_bytes(_F64.pack(number), "little")


def _float(value: Any) -> float:
    if isinstance(value, (str, bytes, bool)):
        raise BadValue(f"must be a number, not {type(value).__name__}")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadValue(f"must be a number, not {type(value).__name__}") from None
