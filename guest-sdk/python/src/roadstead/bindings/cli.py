"""`roadstead-bindings WIT -o DIR`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .generate import generate
from .plans import BindingsError, read_plan


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 if there are no bindings. Wrong usage exits with 2."""
    options = _parser().parse_args(arguments)
    try:
        plan, descriptors = read_plan(
            options.wit, world=options.world, lock=options.lock, program=options.roadstead
        )
        files = generate(plan, descriptors)
        stale = [name for name, data in files.items() if _read(options.output / name) != data]
        if options.check:
            if stale:
                raise BindingsError(f"out of date in {options.output}: {', '.join(sorted(stale))}")
            return 0
        for name in stale:
            path = options.output / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
    except (BindingsError, OSError) as error:
        print(f"roadstead-bindings: {error}", file=sys.stderr)
        return 1
    print(f"{options.output} ({len(files)} files)")
    return 0


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roadstead-bindings",
        description="Writes the Python types of a WIT package, and base classes for what it "
        "exports, for a native module.",
    )
    parser.add_argument("wit", metavar="WIT", type=Path, help="a .wit file or a directory of them")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, required=True,
                        help="where to write; goes on Python's path")  # fmt: skip
    parser.add_argument("-w", "--world", metavar="W", help="the world, if the WIT has several")
    parser.add_argument("--lock", metavar="FILE", type=Path,
                        help="a roadstead.lock whose field numbers to keep")  # fmt: skip
    parser.add_argument("--roadstead", metavar="PROGRAM", type=Path,
                        help="the program `roadstead` (default: ROADSTEAD_BIN, else on PATH)")  # fmt: skip
    parser.add_argument("--check", action="store_true",
                        help="write nothing, and fail if something would be written")  # fmt: skip
    return parser
