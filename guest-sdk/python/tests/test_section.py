"""The section `roadstead:wit`, written and read back."""

import subprocess
from pathlib import Path

import pytest

from roadstead_guest.section import NAME, NotWasm, read_wit, with_wit

EMPTY_COMPONENT = b"\0asm\x0d\0\x01\0"
EMPTY_MODULE = b"\0asm\x01\0\0\0"
FILES = [("a.wit", 'package a:b; /// "quoted" \\ ä\n'), ("deps/b.wit", "x" * 300)]


def custom(name: str, content: bytes) -> bytes:
    body = bytes([len(name)]) + name.encode() + content
    assert len(body) < 128
    return b"\0" + bytes([len(body)]) + body


def nested(kind: int, binary: bytes) -> bytes:
    assert len(binary) < 128
    return bytes([kind, len(binary)]) + binary


def test_what_is_written_is_read() -> None:
    component = with_wit(EMPTY_COMPONENT, FILES)
    assert component.startswith(EMPTY_COMPONENT)
    assert read_wit(component) == FILES


def test_a_component_without_the_section_has_none() -> None:
    assert read_wit(EMPTY_COMPONENT) is None
    assert read_wit(EMPTY_COMPONENT + custom("name", b"x")) is None


def test_sections_of_nested_modules_are_found() -> None:
    module = EMPTY_MODULE + custom(NAME, b'[["in.wit","x"]]')
    assert read_wit(EMPTY_COMPONENT + nested(1, module)) == [("in.wit", "x")]
    inner = EMPTY_COMPONENT + nested(1, module)
    assert read_wit(EMPTY_COMPONENT + nested(4, inner)) == [("in.wit", "x")]


def test_sections_that_a_linker_joined_are_read() -> None:
    joined = custom(NAME, b'[["a.wit","x"]][["b.wit","y"]]')
    assert read_wit(EMPTY_COMPONENT + joined) == [("a.wit", "x"), ("b.wit", "y")]


def test_the_component_s_own_section_counts_first() -> None:
    module = EMPTY_MODULE + custom(NAME, b'[["in.wit","x"]]')
    component = with_wit(EMPTY_COMPONENT + nested(1, module), [("out.wit", "y")])
    assert read_wit(component) == [("out.wit", "y")]


@pytest.mark.parametrize(
    "binary",
    [b"", b"hello", b"\0asm", EMPTY_COMPONENT + b"\0\x7f", EMPTY_COMPONENT + b"\0\xff\xff\xff\xff\xff"],
)
def test_other_bytes_are_refused(binary: bytes) -> None:
    with pytest.raises(NotWasm):
        read_wit(binary)


def test_only_components_get_the_section() -> None:
    for binary in (b"", EMPTY_MODULE):
        with pytest.raises(NotWasm):
            with_wit(binary, FILES)


def test_rust_guests_carry_the_same_section() -> None:
    root = Path(__file__).parents[3]
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--target", "wasm32-wasip2", "--package", "echo"],
        cwd=root / "modules",
        check=True,
    )
    component = root / "modules/target/wasm32-wasip2/release/echo.wasm"
    wit = (root / "modules/echo/wit/echo.wit").read_text()
    assert read_wit(component.read_bytes()) == [("echo.wit", wit)]
