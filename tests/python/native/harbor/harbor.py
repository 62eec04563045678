"""A native module for the tests of hosts."""

import os
import time
import uuid

import wit_world
from componentize_py_async_support import spawn
from componentize_py_types import Err
from roadstead.native import call
from wit_world import exports
from wit_world.exports.harbor import Problem_Full, Problem_Unknown


class Harbor(exports.Harbor):
    def __init__(self):
        self._life = str(uuid.uuid4())
        self._cancelled = 0

    def echo(self, text):
        return text

    def berth(self, ship):
        if ship == "":
            raise Err(Problem_Full())
        if ship == "ghost":
            raise Err(Problem_Unknown(ship))
        return len(ship)

    def life(self):
        return self._life

    def sees(self, path):
        return os.path.exists(path)

    def who(self):
        caller = call().caller
        return f"{caller.subject or 'nobody'} of {caller.namespace} through {list(caller.path)}"

    def trap(self):
        raise ValueError("the harbor burns")

    def crash(self):
        os._exit(3)

    def print(self, line):
        print(line, flush=True)

    def doze(self, ms):
        time.sleep(ms / 1000)

    def wait_until_cancelled(self):
        while not call().cancelled:
            time.sleep(0.01)
        self._cancelled += 1

    def cancelled(self):
        return self._cancelled

    def count(self, to):
        yield from range(to)

    async def double(self, numbers):
        writer, reader = wit_world.u32_stream()

        async def work():
            with writer, numbers:
                while not numbers.writer_dropped and not writer.reader_dropped:
                    await writer.write_all([2 * n for n in await numbers.read(100)])

        spawn(work())
        return reader

    def total(self, start, numbers):
        return start + sum(numbers)
