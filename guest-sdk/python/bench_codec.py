"""What 16 MiB of f32 cost each way: this package's codec, a copy, and stock protobuf.

    ROADSTEAD_BIN=target/release/roadstead .venv/bin/python guest-sdk/python/bench_codec.py

Prints the best time of some rounds, and its ratio to a copy. Written is from an array to bytes, read
from bytes to an array; stock protobuf's own containers are neither, so its times have the way from
and to an array with them.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from roadstead.bindings import read_plan
from roadstead.classes import Made, bind
from roadstead.wire import Codec

WIT = """package bench:arrays@0.1.0;
interface arrays { floats: func() -> list<f32>; integers: func() -> list<u32>; }
world module { export arrays; }
"""
SERVICE = "bench.arrays.arrays.v0_1"
COUNT = 4 << 20
ROUNDS = 7


def best(work: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """The best time of some rounds, in milliseconds."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        wit = Path(directory, "arrays.wit")
        wit.write_text(WIT)
        plan, descriptors = read_plan(wit)
    codec = Codec(plan, bind(plan, Made(plan).find))
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    random = np.random.default_rng(1)
    samples = {
        "Floats": random.random(COUNT, np.float32),
        "Integers": random.integers(0, 1 << 32, COUNT, np.uint32),
    }
    copy = best(lambda: bytes(samples["Floats"].data))
    print(f"{'copy of 16 MiB':32} {copy:9.2f} ms")
    for name, array in samples.items():
        method = plan.methods[f"{SERVICE}.Arrays", name]
        descriptor = pool.FindMessageTypeByName(f"{SERVICE}.{name}Response")
        message = message_factory.GetMessageClass(descriptor)
        data = codec.encode_response(method, array)
        assert np.array_equal(codec.decode_response(method, data), array)

        def stock_write() -> bytes:
            return bytes(message(value=array).SerializeToString())

        def stock_read() -> Any:
            return np.array(message.FromString(data).value, array.dtype)

        figures = {
            "written": best(lambda: codec.encode_response(method, array)),
            "read": best(lambda: codec.decode_response(method, data)),
            "written by stock protobuf": best(stock_write, 3),
            "read by stock protobuf": best(stock_read, 3),
        }
        for what, figure in figures.items():
            print(f"{name + ' ' + what:32} {figure:9.2f} ms {figure / copy:8.2f} × a copy")


if __name__ == "__main__":
    main()
