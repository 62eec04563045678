"""Whose turn it is: one call at a time, but for methods that are declared concurrent."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from .context import Call

T = TypeVar("T")


class Overloaded(Exception):
    """Too many calls wait already."""


class Turns:
    """Lets calls run one after the other, in the order in which they came."""

    def __init__(self, max_waiting: int, threads: int) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._max_waiting = max_waiting
        # One thread for all that runs one at a time: some libraries keep state for each.
        self._one = ThreadPoolExecutor(1, "roadstead")
        self._many = ThreadPoolExecutor(threads, "roadstead-concurrent")
        # What runs in a thread now.
        self._running: set[asyncio.Future[Any]] = set()

    @asynccontextmanager
    async def turn(self, call: Call, concurrent: bool) -> AsyncIterator[Turn]:
        """Waits for the call's turn. What a cancelled method still does, it does in its turn."""
        if concurrent:
            turn = Turn(self._many, call, self._running)
            try:
                yield turn
            finally:
                call.cancel()
            return
        if self._waiting >= self._max_waiting:
            raise Overloaded(f"{self._max_waiting} calls wait already")
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        turn = Turn(self._one, call, self._running)
        try:
            yield turn
        finally:
            call.cancel()
            turn.when_idle(self._turn.release)

    async def idle(self, within: float) -> bool:
        """Waits until no call runs; whether that came to pass in time."""
        until = time.monotonic() + within
        try:
            await asyncio.wait_for(self._turn.acquire(), within)
        except TimeoutError:
            return False
        if not self._running:
            return True
        left = max(0.0, until - time.monotonic())
        _, running = await asyncio.wait(self._running, timeout=left)
        return not running

    def close(self) -> None:
        """Takes nothing more. What runs in a thread runs on until the process ends."""
        self._one.shutdown(wait=False, cancel_futures=True)
        self._many.shutdown(wait=False, cancel_futures=True)


class Turn:
    """The time in which a call runs."""

    def __init__(
        self, threads: ThreadPoolExecutor, call: Call, everything: set[asyncio.Future[Any]]
    ) -> None:
        self._threads, self._call, self._everything = threads, call, everything
        self._running: asyncio.Future[Any] | None = None

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Runs plain code beside the event loop. When the call is cancelled, the code hears of it."""
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, context.run, work)
        self._running = running
        self._everything.add(running)
        running.add_done_callback(self._ended)
        try:
            # Unlike the call, its thread cannot be cancelled.
            await asyncio.wait([running])
        except asyncio.CancelledError:
            self._call.cancel()
            raise
        return running.result()

    def _ended(self, done: asyncio.Future[Any]) -> None:
        self._everything.discard(done)
        if not done.cancelled():
            # Where the caller has gone, nobody else asks what it raised.
            done.exception()

    def when_idle(self, then: Callable[[], None]) -> None:
        """Does something once nothing of the call runs in a thread."""
        running = self._running
        if running is None or running.done():
            then()
        else:
            running.add_done_callback(lambda _: then())
