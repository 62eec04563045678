"""Signs of progress, by which a host finds a module that is alive and stuck."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from ..status import block, number


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the module has got."""

    count: int
    idle: float
    calls: int
    detail: str

    def encode(self, epoch: int) -> bytes:
        """As `roadstead.v1.GetProgressResponse`."""
        detail = self.detail.encode()
        return b"".join(
            (
                number(1, self.count),
                number(2, int(self.idle * 1000)),
                number(3, self.calls),
                block(4, detail) if detail else b"",
                number(5, epoch),
            )
        )


class Tracker:
    """Counts signs of progress and running calls; used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._calls = 0
        self._detail = ""
        self._last = time.monotonic()

    def report(self, detail: str | None = None) -> None:
        """One more sign."""
        with self._lock:
            self._count += 1
            self._last = time.monotonic()
            if detail is not None:
                self._detail = detail

    def call_began(self) -> None:
        """A call runs or waits."""
        with self._lock:
            if self._calls == 0:
                # What was idle without calls was not stuck.
                self._last = time.monotonic()
            self._calls += 1

    def call_ended(self) -> None:
        """It does so no more, which is a sign of progress."""
        with self._lock:
            self._calls -= 1
        self.report()

    def now(self) -> Progress:
        """How things stand."""
        with self._lock:
            idle = time.monotonic() - self._last
            return Progress(self._count, idle, self._calls, self._detail)


TRACKER = Tracker()


def progress(detail: str | None = None) -> None:
    """Reports that the module gets on, and perhaps with what.

    Each call that ends is reported already. Long ones should report while they run: a host takes a
    module with a call and without progress for stuck.
    """
    TRACKER.report(detail)
