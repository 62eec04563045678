#!/usr/bin/env python3
"""Builds the image of a native module in Python, without a container engine.

In it are Debian's Python, the wheels of python.lock (and of other files like it), the package
`roadstead`, and the module with its bindings in /app; no shell, no package manager. It serves the
module as user 65532, with nothing to write but /tmp and its state. Two builds are the same bytes;
SOURCE_DATE_EPOCH sets the time in it (0 unless set).

    k8s/image/build-python.py --output linalg.tar --name linalg:1 modules/linalg/linalg.py
"""

import argparse
import json
import sys
from pathlib import Path

from base import HERE, ROOT, USER, BuildError, accounts, certificates, created, labels, pinned, tagged
from debian import Package, PackageError, entries, files
from image import Image, build
from layer import Entry, file, symlink
from wheels import SITE, compiled, wheels

APP = "/app"
PACKAGE = ROOT / "guest-sdk/python/src"
# Of the packages: what no server reads.
LEFT_OUT = (
    *("/usr/share/man/", "/usr/share/lintian/", "/usr/share/gdb/", "/usr/share/gcc/"),
    *("/usr/share/bug/", "/usr/lib/x86_64-linux-gnu/gconv/", "/usr/share/ca-certificates/"),
    *("/usr/sbin/", "/usr/lib64/", "/lib64/", "/usr/share/binfmts/", "/usr/share/python3/"),
)


def main() -> int:
    options = arguments().parse_args()
    try:
        digest = build_image(options)
    except (BuildError, PackageError, OSError) as error:
        print(f"build-python.py: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"name": options.name, "digest": digest, "file": str(options.output)}))
    return 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path, help="the file with the exports; `gen` is beside it")
    parser.add_argument("--output", required=True, type=Path, help="the archive to write")
    parser.add_argument("--name", required=True, help="the image's name, as linalg:1")
    parser.add_argument("--revision", default="", help="the commit it was built from, for a label")
    parser.add_argument(
        "--lock",
        action="append",
        type=Path,
        default=[],
        help="a file of further packages with their hashes, as pip reads it; repeat it",
    )
    parser.add_argument(
        "--packages",
        type=Path,
        default=ROOT / ".build" / "image",
        help="where packages are kept [.build/image]",
    )
    return parser


def build_image(options: argparse.Namespace) -> str:
    """Writes the archive and gives the digest of the image."""
    name = tagged(options.name)
    module = module_files(options.module)
    pins, source = pinned("amd64", options.packages)
    python, loader = pins["python"]["program"], pins["loader"]
    packages = [*pins["packages"], *pins["python"]["packages"]]
    below = system([source.fetch(Package(**one)) for one in packages], loader)
    below += wheels([HERE / "python.lock", *options.lock], options.packages)
    below += compiled(below, [], python, loader)
    above = [*tree(PACKAGE, SITE), *module]
    above += compiled(above, below, python, loader)
    image = Image(
        name=name,
        layers=[below, above],
        entrypoint=[python, "-m", "roadstead.native", f"{APP}/{options.module.name}"],
        architecture="amd64",
        user=f"{USER}:{USER}",
        environment={"PATH": "/usr/bin", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
        labels=labels(
            name,
            options.module.stem,
            "A native module of Roadstead, in Python",
            [("revision", options.revision)],
        ),
        created=created(),
    )
    written, digest = build(image)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(written)
    return digest


def module_files(module: Path) -> list[Entry]:
    """The module, the modules beside it, and its bindings."""
    bindings = module.parent / "gen"
    if not module.is_file() or not (bindings / "wit_world").is_dir():
        missing = bindings / "wit_world" if module.is_file() else module
        raise BuildError(f"{missing} does not exist")
    beside = sorted(path for path in module.parent.glob("*.py") if path.name != "conftest.py")
    return [file(f"{APP}/{path.name}", path.read_bytes()) for path in beside] + tree(
        bindings, f"{APP}/gen"
    )


def tree(folder: Path, to: str) -> list[Entry]:
    """The files below a folder, but for what Python or pip left there."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    places = [(path.relative_to(folder), path) for path in found]
    return [
        file(f"{to}/{place}", path.read_bytes())
        for place, path in places
        if not any(part == "__pycache__" or part.endswith(".egg-info") for part in place.parts)
    ]


def system(packages: list[bytes], loader: str) -> list[Entry]:
    """What stands under the module: the files of the packages, and the user."""
    found = {entry.path: entry for package in packages for entry in entries(package)}
    held = {path: entry for path, entry in found.items() if is_used(path)}
    trusted = {path: data for package in packages for path, data in files(package).items()}
    folder = loader.rpartition("/")[0]
    library = next(path for path in held if path.endswith(loader.rpartition("/")[2]))
    return [
        *held.values(),
        file(f"/usr{loader}", held[library].data or b"", 0o755),
        symlink("/lib", "usr/lib"),
        symlink(folder, f"usr{folder}"),
        certificates(trusted),
        *accounts(),
    ]


def is_used(path: str) -> bool:
    if path.startswith("/usr/share/doc/"):
        return path.endswith("/copyright")
    return not path.startswith(LEFT_OUT)


if __name__ == "__main__":
    sys.exit(main())
