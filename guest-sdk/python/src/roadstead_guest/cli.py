"""`roadstead-componentize WIT MODULE.py -o OUT.wasm`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .build import BuildError, build


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns 0, or 1 if there is no component. Wrong usage exits with 2."""
    options = _parser().parse_args(arguments)
    output = options.output or Path(options.module.stem.replace("_", "-") + ".wasm")
    try:
        size = build(
            options.wit, options.module, output, world=options.world, python_path=options.python_path
        )
    except BuildError as error:
        print(f"roadstead-componentize: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"roadstead-componentize: {error}", file=sys.stderr)
        return 1
    print(f"{output} ({size:,} bytes)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roadstead-componentize",
        description="Builds a WebAssembly component from WIT and a Python module, "
        "with the WIT text embedded.",
    )
    parser.add_argument("wit", metavar="WIT", type=Path, help="a .wit file or a directory of them")
    parser.add_argument("module", metavar="MODULE.py", type=Path, help="the file with the exports")
    parser.add_argument(
        "-o", "--output", metavar="OUT.wasm", type=Path, help="default: the module's name"
    )
    parser.add_argument(
        "-w", "--world", metavar="W", help="the world to build for, if the WIT has several"
    )
    parser.add_argument(
        "-p",
        "--python-path",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="where else imports are looked up, besides the module's directory; may be repeated",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
