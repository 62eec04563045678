"""An actor for the tests of hosts: what it keeps outlives its process."""

from pathlib import Path

from roadstead.native import Actor
from wit_world import exports
from wit_world.exports.ledger import Entry


class Ledger(exports.Ledger, Actor):
    def __init__(self):
        self._sum = self._epoch = 0

    def restore(self, epoch: int, path: Path | None) -> None:
        self._epoch = epoch
        if path is not None:
            self._sum = int((path / "sum").read_text())

    def checkpoint(self, epoch: int, path: Path) -> None:
        path.mkdir()
        (path / "sum").write_text(str(self._sum))

    def add(self, value):
        self._sum += value
        self.commit()
        return Entry(self._sum, self._epoch)
