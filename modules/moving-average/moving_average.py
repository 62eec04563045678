"""Moving averages: as a session, and over a stream."""

import componentize_py_async_support
import wit_world
from averages import Window
from wit_world import exports

# Numbers that are read at once.
PIECE = 1024


class Averages(exports.Averages):
    async def smooth(self, numbers, size):
        writer, reader = wit_world.f64_stream()
        componentize_py_async_support.spawn(follow(numbers, Window(size), writer))
        return reader


async def follow(numbers, window, writer):
    with numbers, writer:
        while not numbers.writer_dropped and not writer.reader_dropped:
            await writer.write_all(window.add(await numbers.read(PIECE)))
