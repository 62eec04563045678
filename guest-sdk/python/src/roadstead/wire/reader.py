"""The protobuf wire format, read: tags, the four kinds of values, and groups to step over.

As strict as the host: varints over 64 bits, field number 0, the unused wire types and unbalanced
groups are errors, and every length is checked against the bytes at hand.
"""

from __future__ import annotations

from collections.abc import Iterator

from .errors import BadInput

# The wire types.
VARINT, FIXED64, BYTES, GROUP, END_GROUP, FIXED32 = range(6)
# How deep messages, and unknown groups, may be nested.
MAX_DEPTH = 100

TRUNCATED = "not a protobuf message: it ends in the middle of a field"
TOO_LONG = "not a protobuf message: a varint is longer than 64 bits"
BAD_TAG = "not a protobuf message: a field has an impossible tag"
BAD_GROUP = "not a protobuf message: a group ends that was not begun, or the other way round"
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

# Number, wire type, and: a varint's or fixed value's bits and the end, or where bytes begin and end.
Field = tuple[int, int, int, int]


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The varint at a place, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= end:
            raise BadInput(TRUNCATED)
        byte = data[at]
        at += 1
        if shift == 63 and byte > 1:
            raise BadInput(TOO_LONG)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BadInput(TOO_LONG)


def fields(data: bytes, at: int, end: int) -> Iterator[Field]:
    """The fields between two places. Of a group, which is stepped over, nothing is told."""
    while at < end:
        key, at = _tag(data, at, end)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at, end)
            yield number, kind, value, at
        elif kind == BYTES:
            length, begin = varint(data, at, end)
            at = begin + length
            if at > end:
                raise BadInput(TRUNCATED)
            yield number, kind, begin, at
        elif kind == GROUP:
            at = _skip_group(data, at, end, number)
            yield number, kind, at, at
        elif kind == END_GROUP:
            raise BadInput(BAD_GROUP)
        else:
            begin, at = at, at + (8 if kind == FIXED64 else 4)
            if at > end:
                raise BadInput(TRUNCATED)
            yield number, kind, int.from_bytes(data[begin:at], "little"), at


def _tag(data: bytes, at: int, end: int) -> tuple[int, int]:
    key = data[at]
    if 8 <= key < 0x80:
        at += 1
    else:
        key, at = varint(data, at, end)
    if key < 8 or key > 0xFFFF_FFFF or key & 7 > FIXED32:
        raise BadInput(BAD_TAG)
    return key, at


def _skip_group(data: bytes, at: int, end: int, number: int) -> int:
    open_groups = [number]
    while open_groups:
        if at >= end:
            raise BadInput(TRUNCATED)
        key, at = _tag(data, at, end)
        inner, kind = key >> 3, key & 7
        if kind == GROUP:
            if len(open_groups) == MAX_DEPTH:
                raise BadInput(TOO_DEEP)
            open_groups.append(inner)
        elif kind == END_GROUP:
            if open_groups.pop() != inner:
                raise BadInput(BAD_GROUP)
        elif kind == VARINT:
            _, at = varint(data, at, end)
        else:
            length = 8 if kind == FIXED64 else 4
            if kind == BYTES:
                length, at = varint(data, at, end)
            at += length
            if at > end:
                raise BadInput(TRUNCATED)
    return at


def utf8(data: bytes, begin: int, end: int) -> str:
    """The text between two places."""
    try:
        return data[begin:end].decode()
    except UnicodeDecodeError:
        raise BadInput("must be UTF-8") from None
