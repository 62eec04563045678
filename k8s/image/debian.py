"""Files out of Debian packages, each pinned by version and SHA-256.

Packages come through apt, from Debian's mirror and, once a version is gone from there, from
snapshot.debian.org. Their signatures are not looked at: the sum in `base.json` says what is right.
Nothing is installed and the machine's own apt settings are left alone.
"""

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from layer import Entry, file, symlink

MIRROR = "http://deb.debian.org"
SNAPSHOT = "http://snapshot.debian.org/archive"


class PackageError(Exception):
    """A package is not to be had, or is not the one that was pinned."""


@dataclass(frozen=True)
class Package:
    name: str
    version: str
    sha256: str


class Packages:
    """Fetches pinned packages into a folder and keeps them there."""

    def __init__(self, folder: Path, suite: str, snapshot: str, architecture: str) -> None:
        self.folder = folder
        self.suite = suite
        self.snapshot = snapshot
        self.architecture = architecture

    def fetch(self, package: Package) -> bytes:
        """The package's bytes.

        Raises PackageError if it is nowhere, or has another sum than the pinned one.
        """
        kept = self.folder / f"{package.name}-{package.sha256}.deb"
        if not kept.exists():
            self._download(package, kept)
        data = kept.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != package.sha256:
            kept.unlink()
            raise PackageError(
                f"{package.name} {package.version} has the SHA-256 {found}, "
                f"and {package.sha256} is pinned in base.json"
            )
        return data

    def _download(self, package: Package, to: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for source in (MIRROR, SNAPSHOT):
            found = self._from(source, package)
            if found is not None:
                found.rename(to)
                return
        raise PackageError(
            f"apt finds no {package.name} {package.version} ({self.architecture}) for Debian "
            f"{self.suite}: put the file at {to}, or pin another version in base.json"
        )

    def _from(self, source: str, package: Package) -> Path | None:
        state = self.folder / ("mirror" if source == MIRROR else "snapshot")
        (state / "lists").mkdir(parents=True, exist_ok=True)
        (state / "status").touch()
        dated = f"/{self.snapshot}" if source == SNAPSHOT else ""
        (state / "sources.list").write_text(
            f"deb [trusted=yes] {source}/debian{dated} {self.suite} main\n"
            f"deb [trusted=yes] {source}/debian-security{dated} {self.suite}-security main\n"
        )
        wanted = f"{package.name}={package.version}"
        for _ in range(2):
            got = self._apt(state, "download", "-q", wanted)
            found = next(iter(state.glob(f"{package.name}_*.deb")), None)
            if got.returncode == 0 and found is not None:
                return found
            # The lists are not there yet, or older than the mirror.
            self._apt(state, "update", "-q")
        return None

    def _apt(self, state: Path, *arguments: str) -> subprocess.CompletedProcess:
        state = state.absolute()
        options = {
            "Dir::Etc::SourceList": state / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::State::Lists": state / "lists",
            "Dir::State::Status": state / "status",
            "Dir::Cache": state / "cache",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "",
            "Acquire::Languages": "none",
            "Acquire::Check-Valid-Until": "false",
        }
        command = ["apt-get", *(f"-o{name}={value}" for name, value in options.items())]
        try:
            return subprocess.run(
                [*command, *arguments], cwd=state, capture_output=True, check=False
            )
        except FileNotFoundError as error:
            raise PackageError("the image's base comes from Debian: apt-get is missing") from error


def files(package: bytes) -> dict[str, bytes]:
    """The regular files of a package, by absolute path."""
    return {path: data for path, info, data in _content(package) if info.isreg()}


def entries(package: bytes) -> list[Entry]:
    """Its files and symbolic links, as entries of a layer."""
    return [
        symlink(path, info.linkname) if info.issym() else file(path, data, info.mode & 0o755)
        for path, info, data in _content(package)
    ]


def _content(package: bytes) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    content = _member(package, "data.tar")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:*") as tar:
        for info in tar:
            if info.isreg() or info.issym():
                data = tar.extractfile(info).read() if info.isreg() else b""
                yield "/" + info.name.removeprefix("./"), info, data


def _member(package: bytes, prefix: str) -> bytes:
    """A member of the `ar` archive that a package is."""
    if not package.startswith(b"!<arch>\n"):
        raise PackageError("not a Debian package")
    at = 8
    while at + 60 <= len(package):
        header = package[at : at + 60]
        name, size = header[:16].decode().strip(), int(header[48:58])
        at += 60
        if name.startswith(prefix):
            return package[at : at + size]
        at += size + size % 2
    raise PackageError(f"the package has no {prefix}")
