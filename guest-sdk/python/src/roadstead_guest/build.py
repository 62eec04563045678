"""From WIT and a Python module to a component that carries its WIT text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .section import with_wit

# Modules that componentize-py generates; a guest's own may not hide them.
_GENERATED = frozenset(
    ("wit_world", "componentize_py_types", "componentize_py_runtime", "poll_loop")
)
_RUN = "from componentize_py import script; import sys; sys.exit(script())"


class BuildError(Exception):
    """Why there is no component; the text says what to do about it."""


def build(
    wit: Path,
    module: Path,
    output: Path,
    *,
    world: str | None = None,
    python_path: Sequence[Path] = (),
) -> int:
    """Builds `output` from a `.wit` file or directory and a `.py` file; returns its size.

    The module's own directory and those of `python_path` are where its imports are looked up, and
    no others: not the site-packages of the Python that runs this.
    """
    files = wit_files(wit)
    name = _module_name(module)
    for directory in python_path:
        if not directory.is_dir():
            raise BuildError(f"--python-path {directory} is not a directory")
    if not output.parent.is_dir():
        raise BuildError(f"{output.parent} is not a directory: make it first")
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".componentize-") as scratch:
        plain = Path(scratch) / "plain.wasm"
        _componentize(wit, name, [module.parent, *python_path], plain, world, Path(scratch))
        finished = Path(scratch) / "finished.wasm"
        size = finished.write_bytes(with_wit(plain.read_bytes(), files))
        finished.replace(output)
    return size


def wit_files(wit: Path) -> list[tuple[str, str]]:
    """The WIT files to embed, as `(path, text)` ordered by path."""
    if wit.is_file():
        found = [(wit.name, wit)]
    elif wit.is_dir():
        paths = sorted(wit.rglob("*.wit"), key=lambda path: path.relative_to(wit).as_posix())
        found = [(path.relative_to(wit).as_posix(), path) for path in paths if path.is_file()]
    else:
        raise BuildError(f"{wit} does not exist: give a .wit file or a directory of them")
    if not found:
        raise BuildError(f"{wit} holds no .wit file")
    try:
        return [(name, path.read_text(encoding="utf-8")) for name, path in found]
    except UnicodeDecodeError as error:
        raise BuildError(f"a file of {wit} is not UTF-8: {error}") from error


def _module_name(module: Path) -> str:
    if not module.is_file():
        raise BuildError(f"{module} does not exist: give the .py file with the exports")
    name = module.stem
    if module.suffix != ".py" or not name.isidentifier():
        raise BuildError(f"{module.name} cannot be imported: name it like my_module.py")
    if name in _GENERATED:
        raise BuildError(f"{module.name} has the name of a generated module: rename it")
    return name


def _componentize(
    wit: Path, name: str, python_path: list[Path], output: Path, world: str | None, scratch: Path
) -> None:
    command = [sys.executable, "-c", _RUN, "--wit-path", str(wit)]
    if world is not None:
        command += ["--world", world]
    command += ["componentize", name, "--output", str(output)]
    for directory in python_path:
        command += ["--python-path", str(directory)]
    # An environment without packages, so that only the named directories count.
    environment = {
        **os.environ,
        "VIRTUAL_ENV": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Backtraces of componentize-py's own code would bury what it says.
        "RUST_BACKTRACE": "0",
    }
    try:
        run = subprocess.run(
            command, env=environment, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise BuildError(f"componentize-py could not be started: {error}") from error
    if run.returncode != 0 or not output.is_file():
        raise BuildError(explain(f"{run.stdout}\n{run.stderr}"))


# What componentize-py says, and what to do about it.
_HINTS = (
    (
        r"No module named ['\"]componentize_py['\"]",
        "componentize-py is not installed here: pip install componentize-py==0.25.1",
    ),
    (
        r"No module named ['\"](?P<what>[\w.]+)['\"]",
        "`{what}` was not found. If the module imports it: put it beside the module, or name its "
        "directory with --python-path (pip install --target DIR PACKAGE makes one); packages with "
        "native code do not work in a component. If it is an interface with resources: define "
        "their classes in a file {what}.py beside the module",
    ),
    (
        r"module ['\"](?P<what>\w+)['\"] has no attribute ['\"](?P<other>\w+)['\"]",
        "{what}.py defines no class `{other}`: every exported interface needs one of its name",
    ),
    (
        r"cannot import name 'exports' from 'wit_world'",
        "the world exports no named interface: functions of the world itself belong to a class "
        "`WitWorld(wit_world.WitWorld)`, and inline interfaces do not work for Python",
    ),
    (
        r"not yet implemented: (?P<what>[\w-]+)",
        "the WIT uses `{what}`, which Python guests cannot use yet: for a map write "
        "list<tuple<K, V>>, for a list of fixed length list<T>",
    ),
    (r"(?i)\bworld `(?P<what>[^`]+)` not found", "there is no world `{what}`: see --world"),
    (r"multiple worlds|[Nn]o world", "the WIT has not exactly one world: choose with --world"),
    (r"\bSyntaxError\b", "the module is not valid Python"),
)


def explain(output: str) -> str:
    """The hint that fits, and what componentize-py said, without its own stack."""
    said = re.sub(r".*^(?:\w+\.)?(?:AssertionError|PanicException): ", "", output, flags=re.M | re.S)
    effect, _, cause = said.partition("\nCaused by:")
    # The cause of what Python raised is the same again.
    said = effect if cause.strip() in effect else f"{effect}\n{cause}"
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if "site-packages directory not found" not in line]
    tail = "\n".join(f"  {line}" for line in lines[-20:]) or "  (nothing)"
    for pattern, hint in _HINTS:
        if (match := re.search(pattern, output)) is not None:
            return f"{hint.format(**match.groupdict())}\ncomponentize-py said:\n{tail}"
    return f"componentize-py failed:\n{tail}"
