"""A layer of an image as a tar archive whose bytes depend on its content alone.

Entries are sorted by path; owners are numbers, modes and times are given. So the same files make the
same layer, on any machine and at any time.
"""

import io
import tarfile
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A file (`data`), a symbolic link (`link`) or else a directory."""

    path: str
    mode: int
    data: bytes | None = None
    link: str | None = None
    owner: int = 0


def directory(path: str, mode: int = 0o755, owner: int = 0) -> Entry:
    return Entry(path, mode, owner=owner)


def file(path: str, data: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, mode, data=data)


def symlink(path: str, target: str) -> Entry:
    return Entry(path, 0o777, link=target)


def archive(entries: list[Entry], mtime: int) -> bytes:
    """The uncompressed tar of the entries and of the directories above them.

    Uncompressed, because what a compressor writes changes with its version.
    """
    named = {entry.path.strip("/"): entry for entry in entries}
    if len(named) != len(entries):
        raise ValueError("two entries of a layer have the same path")
    for path in list(named):
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            named.setdefault(parent, directory(parent))
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(named):
            _add(tar, path, named[path], mtime)
    return written.getvalue()


def _add(tar: tarfile.TarFile, path: str, entry: Entry, mtime: int) -> None:
    info = tarfile.TarInfo(path)
    info.mode, info.mtime = entry.mode, mtime
    info.uid = info.gid = entry.owner
    if entry.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, entry.link
        tar.addfile(info)
    elif entry.data is not None:
        info.size = len(entry.data)
        tar.addfile(info, io.BytesIO(entry.data))
    else:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
