"""Streams and futures as componentize-py has them, over asyncio; and what is simpler beside them.

A method that gives a stream may return a reader of a pair, or be a generator, asynchronous or not.
A stream that a method gets can also be iterated over: `async for`, or `for` in a plain method.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Union

from .context import CURRENT

T = TypeVar("T")

_LOG = logging.getLogger("roadstead.native")
# Tasks that run, which nothing else would keep alive.
_TASKS: set[asyncio.Task[None]] = set()


def spawn(work: Coroutine[Any, Any, None]) -> None:
    """Lets work go on after the method returned, until its call ends or is cancelled."""
    call = CURRENT.get()
    keep = _TASKS if call is None else call.tasks

    def begin() -> None:
        task = loop.create_task(work)
        keep.add(task)
        task.add_done_callback(lambda done: _finished(done, keep))

    loop = _loop()
    # A plain method runs in a thread beside the loop.
    loop.call_soon_threadsafe(begin)


def _loop() -> asyncio.AbstractEventLoop:
    """The loop that the call belongs to."""
    call = CURRENT.get()
    return asyncio.get_running_loop() if call is None or call.loop is None else call.loop


def _finished(task: asyncio.Task[None], keep: set[asyncio.Task[None]]) -> None:
    keep.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("spawned work failed", exc_info=error)


class _Closing:
    """What is closed by leaving a `with`."""

    def close(self) -> None:
        """Tells the other end that this one is gone."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Pipe:
    """Between a writer and a reader: a slow reader stops the writer."""

    def __init__(self) -> None:
        self.pending: Any = None
        self.writer_gone = False
        self.reader_gone = False
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Wakes the end that waits."""
        self._changed.set()

    async def wait(self) -> None:
        """Until the other end did something."""
        self._changed.clear()
        await self._changed.wait()

    async def give(self, items: Any) -> int:
        """Offers items until all are taken, or the reader is gone; returns how many were taken."""
        if self.reader_gone or not len(items):
            return 0
        self.pending = items
        self.changed()
        while self.pending is not None and not self.reader_gone:
            await self.wait()
        left = 0 if self.pending is None else len(self.pending)
        self.pending = None
        return len(items) - left

    async def take(self, most: int) -> Any:
        """Up to so many items; None at the end."""
        while self.pending is None and not self.writer_gone:
            await self.wait()
        items = self.pending
        if items is None:
            return None
        taken, left = items[:most], items[most:]
        self.pending = left if len(left) else None
        self.changed()
        return taken


# Gives up to so many items, or None at the end.
Pull = Callable[[int], Awaitable[Any]]


class _Reader(_Closing):
    def __init__(self, pull: Pull, close: Callable[[], None]) -> None:
        self.writer_dropped = False
        self._pull = pull
        self._close = close

    async def _read(self, most: int) -> Any:
        items = None if self.writer_dropped else await self._pull(most)
        if items is None:
            self.writer_dropped = True
        return items

    def close(self) -> None:
        """Says that nothing more is wanted."""
        self._close()

    def _waited(self, loop: asyncio.AbstractEventLoop, most: int) -> Any:
        return asyncio.run_coroutine_threadsafe(self._read(most), loop).result()


class StreamReader(_Reader, Generic[T]):
    """The readable end of a stream."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def read(self, max_count: int) -> list[T]:
        """One item at least, and so many at most; none at the end."""
        items = await self._read(max_count)
        return [] if items is None else list(items)

    async def __aiter__(self) -> AsyncIterator[T]:
        while not self.writer_dropped:
            for item in await self.read(1):
                yield item

    def __iter__(self) -> Iterator[T]:
        while not self.writer_dropped:
            yield from self._waited(_loop_of(self._loop), 1) or ()


class ByteStreamReader(_Reader):
    """The readable end of a stream of bytes."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def read(self, max_count: int) -> bytes:
        """One byte at least, and so many at most; none at the end."""
        items = await self._read(max_count)
        return b"" if items is None else bytes(items)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self.read(1 << 20):
            yield chunk

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self._waited(_loop_of(self._loop), 1 << 20):
            yield bytes(chunk)


def _loop_of(loop: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    if loop is None:
        raise RuntimeError("only streams that callers send can be read without `async`")
    return loop


class _Writer(_Closing):
    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    @property
    def reader_dropped(self) -> bool:
        """Whether nobody reads any more."""
        return self._pipe.reader_gone

    def close(self) -> None:
        """Ends the stream."""
        self._pipe.writer_gone = True
        self._pipe.changed()


class StreamWriter(_Writer, Generic[T]):
    """The writable end of a stream."""

    async def write(self, source: list[T]) -> int:
        """Offers items; returns how many were taken."""
        return await self._pipe.give(source)

    async def write_all(self, source: list[T]) -> int:
        """The same: all are taken, unless the reader is gone."""
        return await self._pipe.give(source)


class ByteStreamWriter(_Writer):
    """The writable end of a stream of bytes."""

    async def write(self, source: bytes) -> int:
        """Offers bytes; returns how many were taken."""
        return await self._pipe.give(source)

    async def write_all(self, source: bytes) -> int:
        """The same: all are taken, unless the reader is gone."""
        return await self._pipe.give(source)


class FutureReader(_Closing, Generic[T]):
    """The readable end of a future."""

    def __init__(self, value: Callable[[], Awaitable[T]]) -> None:
        self._value = value

    async def read(self) -> T:
        """Waits for the value."""
        return await self._value()

    def close(self) -> None:
        """Says that the value is not wanted."""


class FutureWriter(_Closing, Generic[T]):
    """The writable end of a future. Left without a value, it gives the default."""

    def __init__(self, default: Callable[[], T], future: asyncio.Future[T]) -> None:
        self._default, self._future = default, future

    async def write(self, value: T) -> bool:
        """Gives the value."""
        if self._future.done():
            return False
        self._future.set_result(value)
        return True

    def close(self) -> None:
        """Gives the default, if nothing was given."""
        if not self._future.done():
            self._future.set_result(self._default())


# What a method may give where the WIT has a stream of T, and where it has a future.
Stream = Union[StreamReader[T], AsyncIterator[T], Iterator[T]]
ByteStream = Union[ByteStreamReader, AsyncIterator[bytes], Iterator[bytes]]
Future = Union[FutureReader[T], Awaitable[T]]


def stream_pair() -> tuple[StreamWriter[Any], StreamReader[Any]]:
    """A stream's two ends."""
    pipe = Pipe()
    return StreamWriter(pipe), StreamReader(pipe.take, lambda: _drop_reader(pipe))


def byte_stream_pair() -> tuple[ByteStreamWriter, ByteStreamReader]:
    """The two ends of a stream of bytes."""
    pipe = Pipe()
    return ByteStreamWriter(pipe), ByteStreamReader(pipe.take, lambda: _drop_reader(pipe))


def future_pair(default: Callable[[], T]) -> tuple[FutureWriter[T], FutureReader[T]]:
    """A future's two ends."""
    future: asyncio.Future[T] = _loop().create_future()

    async def value() -> T:
        return await future

    return FutureWriter(default, future), FutureReader(value)


def _drop_reader(pipe: Pipe) -> None:
    pipe.reader_gone = True
    pipe.changed()
