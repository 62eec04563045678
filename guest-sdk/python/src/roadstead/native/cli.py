"""`roadstead-native MODULE.py`: serves the classes of a Python file that implement a WIT."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from .load import classes_of
from .server import serve


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until it is told to stop. Wrong usage exits with 2."""
    parser = argparse.ArgumentParser(
        prog="roadstead-native",
        description="Serves a Python module's classes as a native module. Where, the environment "
        "says: ROADSTEAD_SOCKET, or ROADSTEAD_LISTEN with ROADSTEAD_TLS_CERT, _KEY and _CA.",
    )
    parser.add_argument("module", metavar="MODULE.py", type=Path, help="the file with the exports")
    parser.add_argument("--bindings", metavar="DIR", type=Path,
                        help="what roadstead-bindings wrote (default: gen beside the module)")  # fmt: skip
    parser.add_argument("--plain-lists", action="store_true",
                        help="lists and bytes as in a component, in place of arrays and views")  # fmt: skip
    options = parser.parse_args(arguments)
    bindings = options.bindings or options.module.parent / "gen"
    if not options.module.is_file():
        print(f"roadstead-native: {options.module} does not exist", file=sys.stderr)
        return 1
    if not (bindings / "wit_world").is_dir():
        print(f"roadstead-native: {bindings / 'wit_world'} does not exist: make it with "
              f"`roadstead-bindings {_wit(options.module)} -o {bindings}`", file=sys.stderr)  # fmt: skip
        return 1
    sys.path[:0] = [str(options.module.parent.absolute()), str(bindings.absolute())]
    module = importlib.import_module(options.module.stem)
    serve(*classes_of(module), plain_lists=options.plain_lists)
    return 0


def _wit(module: Path) -> Path:
    """Where the module's WIT usually is."""
    beside = module.parent / "wit"
    return beside if beside.exists() else Path("WIT")
