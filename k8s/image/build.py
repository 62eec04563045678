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
import os
import re
import sys
from pathlib import Path

from debian import Package, PackageError, Packages, files
from image import Image, build
from layer import Entry, directory, file, symlink

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
USER = 65532
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
LIBRARIES = ("libc.so.6", "libm.so.6", "libgcc_s.so.1")
GLIBC = re.compile(rb"GLIBC_(\d+)\.(\d+)")


class BuildError(Exception):
    """The image cannot be built; says why and what to do."""


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
    if ":" not in options.name.rpartition("/")[2]:
        raise BuildError(f"the name `{options.name}` has no tag: write {options.name}:VERSION")
    base = json.loads((HERE / "base.json").read_text())
    if options.architecture not in base["architectures"]:
        known = ", ".join(base["architectures"])
        raise BuildError(f"base.json pins nothing for {options.architecture}, but for {known}")
    pinned = base["architectures"][options.architecture]
    source = Packages(options.packages, base["suite"], base["snapshot"], options.architecture)
    libc = next(p["version"] for p in pinned["packages"] if p["name"] == "libc6")
    programs = [read_program(path, libc) for path in options.programs]
    found = {}
    for package in pinned["packages"]:
        found |= files(source.fetch(Package(**package)))
    image = Image(
        name=options.name,
        layers=[base_layer(found, pinned), programs],
        entrypoint=[programs[0].path],
        command=["serve"],
        architecture=options.architecture,
        user=f"{USER}:{USER}",
        environment={"PATH": "/usr/bin", "ROADSTEAD_DATA_DIR": "/var/lib/roadstead"},
        labels=labels(options),
        created=int(os.environ.get("SOURCE_DATE_EPOCH", "0")),
    )
    written, digest = build(image)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_bytes(written)
    return digest


def labels(options: argparse.Namespace) -> dict[str, str]:
    named = {
        "title": "Roadstead",
        "description": "Hosts WebAssembly components as typed gRPC services",
        "licenses": "Apache-2.0",
        "version": options.name.rpartition(":")[2],
    }
    if options.revision:
        named["revision"] = options.revision
    return {f"org.opencontainers.image.{name}": value for name, value in named.items()}


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


def base_layer(found: dict[str, bytes], pinned: dict) -> list[Entry]:
    """What stands under the programs, taken from the files of the packages."""
    folder, loader = pinned["libraries"], pinned["loader"]
    loader_name = loader.rpartition("/")[2]
    entries = [file(f"{folder}/{name}", found[f"{folder}/{name}"], 0o755) for name in LIBRARIES]
    entries += [
        file(f"/usr{loader}", found[f"{folder}/{loader_name}"], 0o755),
        symlink("/lib", "usr/lib"),
        symlink(loader.rpartition("/")[0], f"usr{loader.rpartition('/')[0]}"),
        file(CERTIFICATES, certificates(found)),
        file("/etc/passwd", f"roadstead:x:{USER}:{USER}::/var/lib/roadstead:/none\n".encode()),
        file("/etc/group", f"roadstead:x:{USER}:\n".encode()),
        file("/etc/nsswitch.conf", b"hosts: files dns\n"),
        directory("/tmp", 0o1777),
        directory("/var/lib/roadstead", 0o700, USER),
    ]
    licences = {path: text for path, text in found.items() if path.endswith("/copyright")}
    return entries + [file(path, text) for path, text in sorted(licences.items())]


def certificates(found: dict[str, bytes]) -> bytes:
    """The certificates of the package as one file, as Debian's own tool would write it."""
    paths = sorted(path for path in found if path.startswith("/usr/share/ca-certificates/mozilla/"))
    return b"".join(found[path].rstrip() + b"\n" for path in paths)


if __name__ == "__main__":
    sys.exit(main())
