"""What images have in common: who runs, which files of Debian stand under it, what is trusted."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from debian import Packages
from layer import Entry, directory, file

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
USER = 65532
HOME = "/var/lib/roadstead"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


class BuildError(Exception):
    """The image cannot be built; says why and what to do."""


def pinned(architecture: str, folder: Path) -> tuple[dict, Packages]:
    """What `base.json` pins for an architecture, and where its packages come from."""
    base = json.loads((HERE / "base.json").read_text())
    if architecture not in base["architectures"]:
        known = ", ".join(base["architectures"])
        raise BuildError(f"base.json pins nothing for {architecture}, but for {known}")
    packages = Packages(folder, base["suite"], base["snapshot"], architecture)
    return base["architectures"][architecture], packages


def tagged(name: str) -> str:
    """The image's name, which must have a tag."""
    if ":" not in name.rpartition("/")[2]:
        raise BuildError(f"the name `{name}` has no tag: write {name}:VERSION")
    return name


def accounts() -> list[Entry]:
    """The user that programs run as, and the folders that are theirs."""
    return [
        file("/etc/passwd", f"roadstead:x:{USER}:{USER}::{HOME}:/none\n".encode()),
        file("/etc/group", f"roadstead:x:{USER}:\n".encode()),
        file("/etc/nsswitch.conf", b"hosts: files dns\n"),
        directory("/tmp", 0o1777),
        directory(HOME, 0o700, USER),
    ]


def certificates(found: dict[str, bytes]) -> Entry:
    """The certificates of the package as one file, as Debian's own tool would write it."""
    paths = sorted(path for path in found if path.startswith("/usr/share/ca-certificates/mozilla/"))
    return file(CERTIFICATES, b"".join(found[path].rstrip() + b"\n" for path in paths))


def labels(name: str, title: str, description: str, more: Iterable[tuple[str, str]] = ()) -> dict:
    """Labels as OCI names them; those without a value are left out."""
    named = {"title": title, "description": description, "version": name.rpartition(":")[2]}
    named |= {label: value for label, value in more if value}
    return {f"org.opencontainers.image.{label}": value for label, value in named.items()}


def created() -> int:
    """The time in the image, which the builder may choose."""
    return int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
