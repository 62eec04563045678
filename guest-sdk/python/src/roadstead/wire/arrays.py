"""Packed lists of numbers as numpy arrays, without work for each element. Needs numpy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import plain, varints
from .errors import BadInput, BadValue
from .reader import TRUNCATED
from .scalars import INTEGERS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_DTYPES = {
    "u8": "u1", "u16": "<u2", "u32": "<u4", "u64": "<u8",
    "s8": "i1", "s16": "<i2", "s32": "<i4", "s64": "<i8",
    "f32": "<f4", "f64": "<f8",
}  # fmt: skip


def read(scalar: str, data: bytes, begin: int, end: int, at: int) -> Any:
    """The numbers between two places; of floats, a view of `data`. Bools come as a list.

    `at` is where the first stands in its list, for errors.
    """
    if scalar == "bool":
        return plain.read(scalar, data, begin, end, at)
    if scalar in ("f32", "f64"):
        return _read_floats(scalar, data, begin, end)
    raw = np.frombuffer(data, np.uint8, end - begin, begin)
    return _from_wire(scalar, varints.read(raw), at)


def join(scalar: str, parts: list[Any]) -> Any:
    """One list of several, each an array or a list."""
    if len(parts) == 1:
        return parts[0]
    if scalar == "bool":
        return plain.join(scalar, parts)
    dtype = _DTYPES[scalar]
    if not parts:
        return np.empty(0, dtype)
    return np.concatenate([np.asarray(part, dtype) for part in parts])


def write(scalar: str, values: Any) -> Any:
    """The bytes of a list of numbers; of an array of floats, a view of them."""
    if scalar == "bool" and not isinstance(values, np.ndarray):
        return plain.write(scalar, values)
    array = _array(scalar, values)
    if scalar in ("f32", "f64"):
        return _canonical(array).view(np.uint8).data if array.size else b""
    if scalar == "bool":
        return array.astype(np.uint8).tobytes()
    return varints.write(_to_wire(scalar, array))


def _read_floats(scalar: str, data: bytes, begin: int, end: int) -> Array:
    dtype = np.dtype(_DTYPES[scalar])
    count, rest = divmod(end - begin, dtype.itemsize)
    if rest:
        raise BadInput(TRUNCATED)
    return _canonical(np.frombuffer(data, dtype, count, begin))


def _canonical(array: Array) -> Array:
    """The array with one kind of NaN. The smallest element tells whether there is any."""
    if array.size and np.isnan(array.min()):
        array = array.copy()
        array[np.isnan(array)] = np.nan
    return array


def _from_wire(scalar: str, raw: Array, at: int) -> Array:
    integer = INTEGERS[scalar]
    if integer.bits < 64:
        raw = raw.astype(np.uint32)
    one = raw.dtype.type(1)
    values = raw
    if integer.signed:
        signed = np.dtype(f"i{raw.dtype.itemsize}")
        values = (raw >> one).view(signed) ^ -(raw & one).view(signed)
    if integer.bits < 32:
        bad = (values < integer.least) | (values > integer.most)
        if bad.any():
            raise BadInput(integer.range, f"[{at + int(bad.argmax())}]")
    return values.astype(_DTYPES[scalar], copy=False)


def _to_wire(scalar: str, array: Array) -> Array:
    if not INTEGERS[scalar].signed:
        return array.astype(np.uint64, copy=False)
    wide = array.astype(np.int64, copy=False)
    return ((wide << 1) ^ (wide >> 63)).view(np.uint64)


def _array(scalar: str, values: Any) -> Array:
    """The values as an array of the type, in one row and little-endian."""
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__"):
        raise BadValue(f"must be a list of numbers, not {type(values).__name__}")
    try:
        array = np.asarray(values)
        if scalar == "u64" and array.dtype.kind in "fO" and all(isinstance(v, int) for v in values):
            array = np.fromiter(values, np.uint64, len(values))
    except (TypeError, ValueError, OverflowError):
        raise _bad(scalar, values, "must be a list of numbers") from None
    if array.ndim != 1:
        raise BadValue(f"must be a list of numbers, in one dimension, not {array.ndim}")
    if not array.size:
        return np.empty(0, _DTYPES.get(scalar, "?"))
    if scalar == "bool":
        if array.dtype.kind != "b":
            raise _bad(scalar, values, "must be a list of bools")
        return array
    if scalar in INTEGERS:
        return _integers(scalar, array, values)
    if array.dtype.kind not in "fiu":
        raise _bad(scalar, values, "must be a list of numbers")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, _DTYPES[scalar])


def _bad(scalar: str, values: Any, otherwise: str) -> BadValue:
    """What is wrong with the first value that does not fit, and where it stands."""
    try:
        plain.write(scalar, values.tolist() if isinstance(values, np.ndarray) else values)
    except BadValue as error:
        return error
    return BadValue(otherwise)


def _integers(scalar: str, array: Array, values: Any) -> Array:
    integer = INTEGERS[scalar]
    if array.dtype.kind not in "iu":
        # Whole numbers that no dtype holds come as objects, or as floats beside negative ones.
        otherwise = f"must be integers, {integer.range.removeprefix('must be ')}"
        raise _bad(scalar, values, otherwise)
    bad = None
    if array.min() < integer.least:
        bad = array < integer.least
    elif array.max() > integer.most:
        bad = array > integer.most
    if bad is not None:
        raise BadValue(integer.range, f"[{int(bad.argmax())}]")
    return array.astype(_DTYPES[scalar], copy=False)
