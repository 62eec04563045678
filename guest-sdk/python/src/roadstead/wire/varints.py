"""Varints by numpy: many at a time, as words of 64 bits whose groups of 7 bits are moved together.

Needs numpy, and a little-endian machine, as all are that it runs on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import BadInput
from .reader import TOO_LONG, TRUNCATED

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

# So many numbers at a time, so that what is made on the way stays in the cache.
_CHUNK = 1 << 14

# The bytes of a word that a varint of a length has, and their bits that say that more follows.
_KEPT = np.array([(1 << 8 * length) - 1 for length in range(9)], np.uint64)
_MORE = np.array(
    [sum(0x80 << 8 * at for at in range(length - 1)) for length in range(9)], np.uint64
)
# For each byte of a word, whether a varint of a length has it.
_PRESENT = np.array([sum(1 << 8 * at for at in range(length)) for length in range(9)], np.uint64)
# The least numbers that need 2, 3, … bytes.
_LIMITS = [np.uint64(1 << 7 * bytes) for bytes in range(1, 10)]
# Neighbouring groups of bits are moved together, or apart: by how much, and the masks of the lower
# and the upper ones, each time of groups that are twice as large.
_STEPS = [
    (np.uint64(1), np.uint64(0x007F007F007F007F), np.uint64(0x7F007F007F007F00)),
    (np.uint64(2), np.uint64(0x00003FFF00003FFF), np.uint64(0x3FFF00003FFF0000)),
    (np.uint64(4), np.uint64(0x000000000FFFFFFF), np.uint64(0x0FFFFFFF00000000)),
]
_SEVENS = np.uint64(0x7F7F7F7F7F7F7F7F)
_WORD = 8


def read(raw: Array) -> Array:
    """The 64 bits of every varint in some bytes."""
    if not raw.size:
        return np.empty(0, np.uint64)
    if raw[-1] >= 0x80:
        raise BadInput(TRUNCATED)
    if raw.max() < 0x80:
        return raw.astype(np.uint64)
    ends = np.flatnonzero(raw < 0x80)
    values = np.empty(ends.size, np.uint64)
    start = 0
    for first in range(0, ends.size, _CHUNK):
        chunk = ends[first : first + _CHUNK]
        stop = int(chunk[-1]) + 1
        values[first : first + _CHUNK] = _read_chunk(raw[start:stop], chunk - start)
        start = stop
    return values


def _read_chunk(raw: Array, ends: Array) -> Array:
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts + 1
    if lengths.max() > _WORD:
        return _read_long(raw, starts, lengths)
    padded = np.concatenate((raw, np.zeros(_WORD, np.uint8)))
    # The word that begins at each byte: a view, of which only those are read where a varint begins.
    windows = np.ndarray((raw.size,), "<u8", padded, strides=(1,))
    words = windows[starts]
    words &= _KEPT[lengths]
    words &= _SEVENS
    for shift, lower, upper in _STEPS:
        words = (words & lower) | ((words & upper) >> shift)
    return words


def _read_long(raw: Array, starts: Array, lengths: Array) -> Array:
    """Varints of more than 8 bytes among others, a byte of each at a time."""
    longest = int(lengths.max())
    if longest > 10 or (longest == 10 and (raw[starts[lengths == 10] + 9] > 1).any()):
        raise BadInput(TOO_LONG)
    low = raw & np.uint8(0x7F)
    values = low[starts].astype(np.uint64)
    for byte in range(1, longest):
        some = lengths > byte
        values[some] |= low[starts[some] + byte].astype(np.uint64) << np.uint64(7 * byte)
    return values


def write(values: Array) -> bytes:
    """The bytes of many varints, each given as 64 bits."""
    if not values.size:
        return b""
    if values.max() < 0x80:
        return values.astype(np.uint8).tobytes()
    parts = (values[at : at + _CHUNK] for at in range(0, values.size, _CHUNK))
    return b"".join(_write_chunk(part) for part in parts)


def _write_chunk(values: Array) -> bytes:
    lengths = np.ones(values.size, np.uint8)
    for limit in _LIMITS:
        longer = values >= limit
        if not longer.any():
            break
        lengths += longer.view(np.uint8)
    if lengths.max() > _WORD:
        return _write_long(values, lengths.astype(np.intp))
    words = values
    for shift, lower, upper in reversed(_STEPS):
        words = (words & lower) | ((words << shift) & upper)
    words |= _MORE[lengths]
    return words.view(np.uint8)[_PRESENT[lengths].view(np.bool_)].tobytes()


def _write_long(values: Array, lengths: Array) -> bytes:
    """Varints of more than 8 bytes among others, a byte of each at a time."""
    ends = np.cumsum(lengths)
    out = np.empty(int(ends[-1]), np.uint8)
    starts = ends - lengths
    for byte in range(int(lengths.max())):
        some = lengths > byte
        bits = (values[some] >> np.uint64(7 * byte)).astype(np.uint8)
        out[starts[some] + byte] = bits | np.uint8(0x80)
    out[ends - 1] &= 0x7F
    return out.tobytes()
