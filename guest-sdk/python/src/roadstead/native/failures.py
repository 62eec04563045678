"""A module's own code that fails before the module is ready, and how the log says so."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from .checkpoints import StaleAttempt
from .options import OptionsError

T = TypeVar("T")

# Of these the text alone says enough.
_TOLD = (StaleAttempt, OptionsError)


class StartFailed(Exception):
    """The module's code failed: `trace` has its frames, without those of the server."""

    def __init__(self, what: str, error: Exception) -> None:
        said = traceback.format_exception_only(error)[-1].strip()
        super().__init__(f"{what} failed: {said}")
        # The first frame is the one here that called it.
        frames = error.__traceback__ and error.__traceback__.tb_next
        self.trace = "".join(traceback.format_exception(type(error), error, frames))


def guarded(what: str, work: Callable[[], T]) -> T:
    """Runs plain code of the module. Raises StartFailed where it fails."""
    try:
        return work()
    except _TOLD:
        raise
    except Exception as error:
        raise StartFailed(what, error) from None


async def guarded_async(what: str, work: Awaitable[Any]) -> Any:
    """Waits for asynchronous code of the module. Raises StartFailed where it fails."""
    try:
        return await work
    except _TOLD:
        raise
    except Exception as error:
        raise StartFailed(what, error) from None
