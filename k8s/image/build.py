#!/usr/bin/env python3
"""Builds the container image of Roadstead's programs, without a container engine.

The image holds the programs, the four libraries that they link, the certificates that are trusted on
the web, and nothing to log in to: no shell, no package manager. It runs as user 65532. Two builds of
the same programs are the same bytes; SOURCE_DATE_EPOCH sets the time in it (0 unless set).

    k8s/image/build.py --output roadstead.tar --name roadstead:dev \\
        target/release/roadstead target/release/roadstead-controller
"""

import argparse
import json
import re
import sys
from pathlib import Path

from base import ROOT, USER, BuildError, accounts, certificates, created, labels, pinned, tagged
from debian import Package, PackageError, files
from image import Image, build
from layer import Entry, file, symlink

LIBRARIES = ("libc.so.6", "libm.so.6", "libgcc_s.so.1")
GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)")


def main() -> int:
    options = arguments().parse_args()
    try:
        digest = build_image(options)
    except (BuildError, PackageError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"name": options.name, "digest": digest, "file": str(options.output)}))
    return 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "programs", nargs="+", type=Path, help="executables; the first is the entrypoint"
    )
    parser.add_argument("--output", required=True, type=Path, help="the archive to write")
    parser.add_argument("--name", required=True, help="the image's name, as roadstead:0.1.0")
    parser.add_argument("--revision", default="", help="the commit it was built from, for a label")
    parser.add_argument("--architecture", default="amd64", help="of the programs [amd64]")
    parser.add_argument(
        "--packages",
        type=Path,
        default=ROOT / ".build" / "image",
        help="where Debian's packages are kept [.build/image]",
    )
    return parser


def build_image(options: argparse.Namespace) -> str:
    """Writes the archive and gives the digest of the image."""
    name = tagged(options.name)
    pins, source = pinned(options.architecture, options.packages)
    libc = next(p["version"] for p in pins["packages"] if p["name"] == "libc6")
    programs = [read_program(path, libc) for path in options.programs]
    found = {}
    for package in pins["packages"]:
        found |= files(source.fetch(Package(**package)))
    image = Image(
        name=name,
        layers=[base_layer(found, pins), programs],
        entrypoint=[programs[0].path],
        command=["serve"],
        architecture=options.architecture,
        user=f"{USER}:{USER}",
        environment={"PATH": "/usr/bin", "ROADSTEAD_DATA_DIR": "/var/lib/roadstead"},
        labels=labels(
            name,
            "Roadstead",
            "Hosts WebAssembly components as typed gRPC services",
            [("licenses", "Apache-2.0"), ("revision", options.revision)],
        ),
        created=created(),
    )
    written, digest = build(image)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(written)
    return digest


def read_program(path: Path, libc: str) -> Entry:
    """The program as an entry of the image, if the image's C library is new enough for it."""
    data = path.read_bytes()
    if not data.startswith(b"\x7fELF"):
        raise BuildError(f"{path} is no Linux program")
    wanted = max(((int(a), int(b)) for a, b in GLIBC.findall(data)), default=(0, 0))
    has = tuple(int(part) for part in re.findall(r"\d+", libc)[:2])
    if wanted > has:
        raise BuildError(
            f"{path} needs glibc {wanted[0]}.{wanted[1]} and the image has {has[0]}.{has[1]}: "
            "build it on an older system"
        )
    return file(f"/usr/bin/{path.name}", data, 0o755)


def base_layer(found: dict[str, bytes], pins: dict) -> list[Entry]:
    """What stands under the programs, taken from the files of the packages."""
    folder, loader = pins["libraries"], pins["loader"]
    loader_name = loader.rpartition("/")[2]
    entries = [file(f"{folder}/{name}", found[f"{folder}/{name}"], 0o755) for name in LIBRARIES]
    entries += [
        file(f"/usr{loader}", found[f"{folder}/{loader_name}"], 0o755),
        symlink("/lib", "usr/lib"),
        symlink(loader.rpartition("/")[0], f"usr{loader.rpartition('/')[0]}"),
        certificates(found),
        *accounts(),
    ]
    licences = {path: text for path, text in found.items() if path.endswith("/copyright")}
    return entries + [file(path, text) for path, text in sorted(licences.items())]


if __name__ == "__main__":
    sys.exit(main())
