"""A module with one of everything, for the tests of servers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Planned, Served

WIT = """package demo:desk@0.1.0;

/// A desk.
interface desk {
  record note { title: string, marks: list<f64> }
  variant problem { closed, busy(string) }
  /// Doubles the marks.
  twice: func(note: note) -> result<note, problem>;
  fail: func(how: string);
  later: async func(ms: u32) -> u32;
  slow: func(ms: u32) -> u32;
  aside: func(ms: u32) -> u32;
  wait-until-cancelled: func();
  check-until-cancelled: func();
  who: func() -> string;
  blob: func(data: list<u8>) -> list<u8>;
  zeros: func(size: u32) -> list<u8>;
  rows: func(size: u32) -> stream<list<u8>>;
  count: func(to: u32) -> stream<u32>;
  letters: func(text: string) -> stream<u8>;
  stop-at: func(to: u32, at: u32) -> result<stream<u32>, problem>;
  total: func(start: u64, numbers: stream<u32>) -> u64;
  bytes-total: async func(data: stream<u8>) -> u64;
  double: async func(numbers: stream<u32>) -> stream<u32>;
  checked: async func(numbers: tuple<stream<u32>, future<result<_, string>>>)
    -> tuple<stream<u32>, future<result<_, string>>>;
  soon: func() -> future<string>;
}

world module { export desk; }
"""

MODULE = """
import asyncio, time, threading
import wit_world
from componentize_py_async_support import spawn
from componentize_py_types import Err, Ok
from roadstead.native import Lifecycle, call, concurrent, progress
from wit_world import exports
from wit_world.exports.desk import Note, Problem_Busy, Problem_Closed


class Desk(exports.Desk, Lifecycle):
    def __init__(self):
        self.running = self.most = 0
        self.was_cancelled = False

    def start(self):
        progress("started")
        print("printed by the module")

    def twice(self, note):
        if not len(note.marks):
            raise Err(Problem_Busy(note.title))
        return Note(note.title, note.marks * 2)

    def fail(self, how):
        if how == "type":
            return 5
        raise ValueError("the secret of the module")

    async def later(self, ms):
        return await self._alone(lambda: asyncio.sleep(ms / 1000))

    async def _alone(self, wait):
        self.running += 1
        self.most = max(self.most, self.running)
        await wait()
        self.running -= 1
        return self.most

    def slow(self, ms):
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(ms / 1000)
        self.running -= 1
        return self.most

    @concurrent
    def aside(self, ms):
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(ms / 1000)
        self.running -= 1
        return self.most

    def wait_until_cancelled(self):
        while not call().cancelled:
            time.sleep(0.01)
        self.was_cancelled = True

    @concurrent
    def check_until_cancelled(self):
        while True:
            call().check()
            time.sleep(0.01)

    def who(self):
        caller = call().caller
        if caller is None:
            return f"nobody, cancelled before: {self.was_cancelled}"
        return f"{caller.subject} of {caller.namespace} through {'/'.join(caller.path)}"

    def blob(self, data):
        return bytes(data)[::-1]

    def zeros(self, size):
        return bytes(size)

    def rows(self, size):
        yield bytes(size)

    def count(self, to):
        yield from range(to)

    def letters(self, text):
        writer, reader = wit_world.byte_stream()
        async def write():
            with writer:
                await writer.write_all(text.encode())
        spawn(write())
        return reader

    async def stop_at(self, to, at):
        if to == 0:
            raise Err(Problem_Closed())
        for n in range(to):
            if n == at:
                raise Err(Problem_Busy(str(n)))
            yield n

    def total(self, start, numbers):
        return start + sum(numbers)

    async def bytes_total(self, data):
        total = 0
        while piece := await data.read(3):
            assert len(piece) <= 3
            total += len(piece)
        return total

    async def double(self, numbers):
        writer, reader = wit_world.u32_stream()
        async def work():
            with writer, numbers:
                while not numbers.writer_dropped and not writer.reader_dropped:
                    await writer.write_all([2 * n for n in await numbers.read(100)])
        spawn(work())
        return reader

    async def checked(self, numbers):
        stream, end = numbers
        writer, reader = wit_world.u32_stream()
        done_writer, done = wit_world.result_unit_string_future(lambda: Ok(None))
        async def work():
            with writer:
                async for n in stream:
                    if n == 13:
                        await done_writer.write(Err("thirteen"))
                        return
                    await writer.write([n])
            with done_writer:
                assert await end.read() == Ok(None)
        spawn(work())
        return reader, done

    def soon(self):
        async def value():
            await asyncio.sleep(0)
            return "now"
        return value()
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planned]:
    planned = Planned(tmp_path_factory.mktemp("desk") / "planned", WIT)
    planned.bindings()
    module = planned.directory / "desk_module.py"
    module.write_text(MODULE)
    return module, planned


Start = Callable[..., Served]


@pytest.fixture
def served(desk: tuple[Path, Planned], serve: Start) -> Served:
    module, planned = desk
    return serve(module, planned.plan).wait()


def serve_with(serve: Start, planned: Planned, options: str) -> Served:
    """Serves the class with options in code, in place of the command."""
    script = planned.directory / "serve_desk.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(planned.directory)!r}, {str(planned.directory / 'gen')!r}]\n"
        "from desk_module import Desk\nfrom roadstead.native import serve\n"
        f"serve(Desk, {options})\n"
    )
    return serve(script, planned.plan, "--script").wait()
