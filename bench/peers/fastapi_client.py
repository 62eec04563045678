"""Calls of the front in FastAPI: JSON by HTTP, on connections that are kept.

Each line of input asks for one measurement and is answered by one line: see `worker.rs`. A target is
`ADDRESS METHOD`.
"""

import http.client
import json
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

TIMEOUT = 300
TYPES = {"describe": np.float64, "scale": np.float32}
connections = threading.local()


def connection(address):
    """This thread's own."""
    kept = connections.__dict__
    if address not in kept:
        kept[address] = http.client.HTTPConnection(address, timeout=TIMEOUT)
        kept[address].connect()
        kept[address].sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return kept[address]


def call(address, method, values):
    """One call, from lists of Python to lists of Python."""
    args = [values, 1.0] if method == "scale" else [values]
    body = json.dumps({"module": "linalg", "method": method, "args": args})
    to = connection(address)
    to.request("POST", "/call", body, {"content-type": "application/json"})
    with to.getresponse() as answer:
        assert answer.status == 200, answer.status
        result = json.loads(answer.read())["result"]
    size = len(result) if method == "scale" else result["count"]
    assert size == len(values), size


def measure(address, method, values, in_flight, seconds):
    """Latencies of batches, each of so many calls in flight."""
    batches, began = [], time.perf_counter()
    with ThreadPoolExecutor(in_flight) as threads:
        while not batches or time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            if in_flight == 1:
                call(address, method, values)
            else:
                calls = [threads.submit(call, address, method, values) for _ in range(in_flight)]
                for one in calls:
                    one.result()
            batches.append(time.perf_counter() - sent)
    return batches, time.perf_counter() - began


for line in sys.stdin:
    asked = json.loads(line)
    address, method = asked["target"].split(" ")
    # Between measurements, the front closes connections that are idle.
    connections.__dict__.clear()
    kind = TYPES[method]
    values = np.linspace(0, 1, asked["bytes"] // kind().nbytes, dtype=kind).tolist()
    measure(address, method, values, asked["in_flight"], asked["warm_up"])
    batches, took = measure(address, method, values, asked["in_flight"], asked["seconds"])
    answer = {"calls": len(batches) * asked["in_flight"], "seconds": took, "latencies": batches}
    print(json.dumps(answer), flush=True)
