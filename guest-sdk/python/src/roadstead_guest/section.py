"""The custom section that carries a module's WIT text.

A component binary holds types and names but no comments. The section `roadstead:wit` holds the WIT
files themselves: a JSON array of `[path, text]` pairs in UTF-8, or several such arrays one after
another, because linkers join sections of one name. It may stand in the component itself or in a
core module inside it, where Rust guests have it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

NAME = "roadstead:wit"

_MAGIC = b"\0asm"
_COMPONENT = b"\x0d\x00\x01\x00"
_CORE_MODULE = b"\x01\x00\x00\x00"
# Sections of a component that hold another binary.
_NESTED = (1, 4)


class NotWasm(ValueError):
    """The bytes are not a component or a core module."""


def with_wit(component: bytes, files: list[tuple[str, str]]) -> bytes:
    """The component with the WIT files behind its other sections."""
    if component[:8] != _MAGIC + _COMPONENT:
        raise NotWasm("not a component")
    content = json.dumps(files, ensure_ascii=False, separators=(",", ":")).encode()
    name = NAME.encode()
    body = _leb(len(name)) + name + content
    return component + b"\0" + _leb(len(body)) + body


def read_wit(binary: bytes) -> list[tuple[str, str]] | None:
    """The WIT files of a component, if it carries them; the component's own section counts first."""
    for content in _contents(binary, 0, len(binary)):
        return list(_pairs(content.decode()))
    return None


def _pairs(content: str) -> Iterator[tuple[str, str]]:
    decoder = json.JSONDecoder()
    position = 0
    while position < len(content):
        files, position = decoder.raw_decode(content, position)
        for path, text in files:
            yield (path, text)


def _contents(binary: bytes, start: int, end: int) -> Iterator[bytes]:
    header = binary[start + 4 : start + 8]
    if binary[start : start + 4] != _MAGIC or header not in (_COMPONENT, _CORE_MODULE):
        raise NotWasm("not a component or a core module")
    nested: list[tuple[int, int]] = []
    position = start + 8
    while position < end:
        kind = binary[position]
        size, body = _read_leb(binary, position + 1)
        position = body + size
        if position > end:
            raise NotWasm("a section is longer than the binary")
        if kind == 0:
            length, name = _read_leb(binary, body)
            if binary[name : name + length] == NAME.encode():
                yield binary[name + length : position]
        elif header == _COMPONENT and kind in _NESTED:
            nested.append((body, position))
    for inner_start, inner_end in nested:
        yield from _contents(binary, inner_start, inner_end)


def _leb(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_leb(binary: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(binary):
            break
        byte = binary[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise NotWasm("a length does not end")
