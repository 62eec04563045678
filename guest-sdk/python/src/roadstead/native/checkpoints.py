"""Checkpoints of an actor, which only its newest attempt can commit.

An attempt that nobody numbered (epoch 0) takes the next epoch of its directory when it begins.

A directory holds them, with the epoch of the newest attempt that has begun. A commit writes under a
temporary name, makes it durable, and gives it its name under a lock, if no newer attempt is known.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

# The newest, and the one before in case somebody still reads it.
KEPT = 2


class StaleAttempt(Exception):
    """A newer attempt of the actor has begun: this one can commit nothing any more."""


class Checkpoints:
    """The checkpoints in a directory, as one attempt sees them."""

    def __init__(self, directory: Path, epoch: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self.epoch = epoch
        # Methods that are declared concurrent may commit at once: one after the other, each whole.
        self._committing = threading.RLock()

    def claim(self) -> None:
        """Begins the attempt: those of lower epochs are stale from now on."""
        with self._locked() as known:
            if self.epoch == 0:
                self.epoch = max(known, 0) + 1
            if known < self.epoch:
                self._replace("epoch", f"{self.epoch}\n".encode())
        for left in self._directory.glob(".writing-*"):
            if _number(left.name.split("-")[1]) < self.epoch:
                _remove(left)

    def latest(self) -> Path | None:
        """The newest checkpoint, a file or a directory."""
        found = self._all()
        return found[-1] if found else None

    def commit(self, write: Callable[[Path], None]) -> Path:
        """Makes a checkpoint durable. `write` makes a file or a directory at the path it gets.

        Raises StaleAttempt, and leaves things as they were, where a newer attempt has begun.
        """
        with self._committing:
            return self._commit(write)

    def _commit(self, write: Callable[[Path], None]) -> Path:
        unique = f"{os.getpid()}-{secrets.token_hex(8)}"
        temporary = self._directory / f".writing-{self.epoch}-{unique}"
        try:
            self._write(write, temporary)
            with self._locked():
                last = self.latest()
                number = _number(last.name.split("-")[1]) + 1 if last else 1
                final = self._directory / f"checkpoint-{number:012}-{self.epoch}"
                os.rename(temporary, final)
                _sync_one(self._directory)
                for old in self._all()[:-KEPT]:
                    _remove(old)
        finally:
            _remove(temporary)
        return final

    def _write(self, write: Callable[[Path], None], temporary: Path) -> None:
        try:
            write(temporary)
            _sync(temporary)
        except OSError:
            # A newer attempt clears away what older ones were writing.
            with self._locked():
                raise

    def _all(self) -> list[Path]:
        return sorted(self._directory.glob("checkpoint-*"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Alone with the directory, and sure that no newer attempt has begun."""
        with open(self._directory / "lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                known = _number((self._directory / "epoch").read_text())
            except FileNotFoundError:
                known = -1
            if 0 < self.epoch < known:
                raise StaleAttempt(f"attempt {known} has begun, and this is attempt {self.epoch}")
            yield known

    def _replace(self, name: str, content: bytes) -> None:
        temporary = self._directory / f".{name}"
        temporary.write_bytes(content)
        _sync_one(temporary)
        os.rename(temporary, self._directory / name)
        _sync_one(self._directory)


def _number(text: str) -> int:
    return int(text.strip())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Makes a file or a directory durable, with all that is in it."""
    if path.is_dir():
        for inner in path.iterdir():
            _sync(inner)
    _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
