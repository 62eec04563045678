"""Calls of modules/linalg by `roadstead.connect`, and a copy of the same bytes beside them.

Each line of input asks for one measurement and is answered by one line: see `worker.rs`. A target is
`ADDRESS MODULE METHOD`, or `copy`: the numbers copied there and back within this process.
"""

import asyncio
import json
import sys
import time

import numpy as np
import roadstead

TYPES = {"describe": np.float64, "scale": np.float32, "copy": np.float32}
TIMEOUT = 120


def numbers(method, size):
    return np.linspace(0, 1, size // TYPES[method]().nbytes, dtype=TYPES[method])


def plain(host, module, method):
    """A function of one call, which looks at the size of its answer."""
    if method == "copy":
        return lambda values: values.copy().copy()
    called = getattr(host.module(module), method)
    if method == "scale":
        return lambda values: called(values, 1.0)
    return called


def check(answer, values):
    size = answer.count if hasattr(answer, "count") else len(answer)
    assert size == len(values), answer


def one_at_a_time(call, values, seconds):
    batches, began = [], time.perf_counter()
    while not batches or time.perf_counter() - began < seconds:
        sent = time.perf_counter()
        check(call(values), values)
        batches.append(time.perf_counter() - sent)
    return batches, time.perf_counter() - began


async def many(module, values, in_flight, seconds):
    batches, began = [], time.perf_counter()
    while not batches or time.perf_counter() - began < seconds:
        sent = time.perf_counter()
        answers = await asyncio.gather(*(module.describe(values) for _ in range(in_flight)))
        check(answers[-1], values)
        batches.append(time.perf_counter() - sent)
    return batches, time.perf_counter() - began


async def many_measured(address, module, values, asked):
    async with roadstead.connect_async(address, timeout=TIMEOUT) as host:
        called = await host.module(module)
        await many(called, values, asked["in_flight"], asked["warm_up"])
        return await many(called, values, asked["in_flight"], asked["seconds"])


for line in sys.stdin:
    asked = json.loads(line)
    address, module, method = ([""] * 2 + asked["target"].split(" "))[-3:]
    values = numbers(method, asked["bytes"])
    if asked["in_flight"] > 1:
        batches, took = asyncio.run(many_measured(address, module, values, asked))
    else:
        with roadstead.connect(address or "localhost", timeout=TIMEOUT) as host:
            call = plain(host, module, method)
            one_at_a_time(call, values, asked["warm_up"])
            batches, took = one_at_a_time(call, values, asked["seconds"])
    answer = {"calls": len(batches) * asked["in_flight"], "seconds": took, "latencies": batches}
    print(json.dumps(answer), flush=True)
