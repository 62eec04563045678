"""When a call that failed is made again: only where the module has surely not seen it."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from ..errors import CallError, Overloaded, Unavailable

# The host says of these that it refused the call itself.
_REFUSED = frozenset(("DRAINING", "NOT_READY", "BREAKER_OPEN", "BINDING_ABSENT"))


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is made at most, and how long to wait in between."""

    attempts: int = 4
    first: float = 0.1
    longest: float = 2.0

    def pause(self, error: CallError, attempt: int, idempotent: bool) -> float | None:
        """Seconds until the next attempt after so many; None: the error stands."""
        if attempt >= self.attempts or not is_safe(error, idempotent):
            return None
        if error.retry_after is not None:
            return error.retry_after
        pause = min(self.longest, self.first * 2.0 ** (attempt - 1))
        return pause * (0.8 + 0.4 * random.random())


def is_safe(error: CallError, idempotent: bool) -> bool:
    """Whether the call can be made again: it was not run, or may run twice."""
    if isinstance(error, Overloaded):
        return True
    return isinstance(error, Unavailable) and (error.reason in _REFUSED or idempotent)


@dataclass(frozen=True, slots=True)
class Deadline:
    """When a call, with all its attempts, must be answered."""

    at: float | None

    @staticmethod
    def after(timeout: float | None) -> Deadline:
        """So many seconds from now; None: never."""
        return Deadline(None if timeout is None else time.monotonic() + timeout)

    def left(self) -> float | None:
        """Seconds that are left."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    def allows(self, pause: float) -> bool:
        """Whether there is time to wait that long and call again."""
        left = self.left()
        return left is None or pause < left
