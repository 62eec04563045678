"""Modules that begin and end, and actors: modules with a state that outlives their process."""

from __future__ import annotations

from pathlib import Path

from .checkpoints import Checkpoints


class Lifecycle:
    """A module with something to do before the first call and after the last."""

    def start(self) -> None:
        """Runs once. The module is ready when it returns; if it raises, the module does not start."""

    def stop(self) -> None:
        """Runs once, when no call runs any more."""


class Actor:
    """A module with a state, of which one attempt at a time is the right one.

    The host starts each attempt with a higher epoch. `restore` runs before the first call;
    `self.commit()` makes the state durable, and so does a graceful stop.
    """

    __checkpoints: Checkpoints | None = None

    def restore(self, epoch: int, path: Path | None) -> None:
        """Takes up the state of a checkpoint; None: there is none yet."""
        raise NotImplementedError

    def checkpoint(self, epoch: int, path: Path) -> None:
        """Writes the state, as a file or a directory at the path."""
        raise NotImplementedError

    def commit(self) -> None:
        """Makes the state durable. Raises StaleAttempt where a newer attempt has begun."""
        if self.__checkpoints is None:
            raise RuntimeError("an actor commits when it is served: see ROADSTEAD_STATE")
        epoch = self.__checkpoints.epoch
        self.__checkpoints.commit(lambda path: self.checkpoint(epoch, path))

    def begin(self, checkpoints: Checkpoints) -> None:
        """Begins an attempt: the server calls it."""
        checkpoints.claim()
        self.__checkpoints = checkpoints
        self.restore(checkpoints.epoch, checkpoints.latest())
