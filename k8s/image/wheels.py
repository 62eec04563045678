"""Python packages as entries of a layer: wheels that pip fetches, and what the interpreter makes of them.

Wheels are pinned by version and SHA-256 in a file as pip reads it, and unpacked as they are. Modules
are compiled by the image's own interpreter, since its file system is read-only where it runs.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from base import BuildError
from layer import Entry, file

# Where Debian's Python looks for what did not come with it.
SITE = "/usr/local/lib/python3.13/dist-packages"
VERSION = "3.13"
# Of the C library that a wheel may ask for, newest first.
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")


def wheels(locks: Iterable[Path], keep: Path, machine: str = "x86_64") -> list[Entry]:
    """The content of all wheels that the lock files name; they are kept in a folder.

    Raises BuildError where pip does not get one, or gets another than the pinned one.
    """
    found: dict[str, Entry] = {}
    for lock in locks:
        folder = keep / f"wheels-{lock.stem}"
        _download(lock, folder, machine)
        for wheel in sorted(folder.glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                for info in packed.infolist():
                    place = _place(info.filename)
                    if place:
                        found[place] = file(place, packed.read(info))
    return list(found.values())


def _place(name: str) -> str | None:
    """Where a file of a wheel goes; programs and headers go nowhere."""
    if name.endswith("/"):
        return None
    top, _, below = name.partition("/")
    if not top.endswith(".data"):
        return f"{SITE}/{name}"
    kind, _, rest = below.partition("/")
    return f"{SITE}/{rest}" if kind in ("purelib", "platlib") else None


def _download(lock: Path, folder: Path, machine: str) -> None:
    stamp = folder / "lock"
    if stamp.exists() and stamp.read_text() == lock.read_text():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    platforms = [word for each in PLATFORMS for word in ("--platform", f"{each}_{machine}")]
    done = subprocess.run(
        [*pip, "--no-deps", "--require-hashes", "--only-binary=:all:", "--implementation=cp"]
        + [f"--python-version={VERSION}", *platforms, f"--dest={folder}", f"--requirement={lock}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BuildError(f"pip does not get what {lock} names: {done.stderr.strip()}")
    stamp.write_text(lock.read_text())


def compiled(entries: list[Entry], below: list[Entry], python: str, loader: str) -> list[Entry]:
    """The compiled modules among the entries; `below` are the layers that they stand upon.

    The interpreter runs from a folder, on the image's own libraries.
    """
    with tempfile.TemporaryDirectory(prefix="roadstead-image-") as name:
        root = Path(name)
        for entry in [*below, *entries]:
            _write(root, entry)
        modules = [entry.path for entry in entries if entry.path.endswith(".py")]
        known = {entry.path for entry in [*below, *entries]}
        _compile(root, modules, python, loader)
        made = sorted(root.rglob("__pycache__/*.pyc"))
        places = [(f"/{path.relative_to(root)}", path) for path in made]
        return [file(place, path.read_bytes()) for place, path in places if place not in known]


def _compile(root: Path, modules: list[str], python: str, loader: str) -> None:
    libraries = next((root / "usr/lib").glob("*-linux-gnu"))
    interpreter = [f"{libraries}/{Path(loader).name}", "--library-path", str(libraries)]
    command = [*interpreter, f"{root}{python}", "-S", "-m", "compileall", "-q", "-i", "-"]
    done = subprocess.run(
        # By content alone: times in the image are the builder's choice.
        [*command, "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/"],
        input="".join(f"{root}{path}\n" for path in modules),
        env={
            "PYTHONHOME": f"{root}/usr",
            "PYTHONHASHSEED": "0",
            # It would keep what it imports itself by the time of the file.
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": os.defpath,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    # What does not compile, as tests of packages may not, stays source.
    if done.returncode not in (0, 1) or "Fatal" in done.stderr:
        raise BuildError(f"the image's Python does not run here: {done.stderr.strip()}")


def _write(root: Path, entry: Entry) -> None:
    path = root / entry.path.strip("/")
    if entry.link is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(entry.link)
    elif entry.data is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.data)
        path.chmod(entry.mode)
    else:
        path.mkdir(parents=True, exist_ok=True)
