"""Calls of Ray's actors and tasks, on a cluster of this machine alone.

Each line of input asks for one measurement and is answered by one line: see `worker.rs`.
"""

import json
import os
import sys
import time

os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402

ray.init(
    num_cpus=os.cpu_count(),
    include_dashboard=False,
    log_to_driver=False,
    configure_logging=False,
    object_store_memory=200 << 20,
)


@ray.remote
class Echo:
    def call(self, data):
        return data


@ray.remote
def echo(data):
    return data


actor = Echo.remote()
TARGETS = {"actor": actor.call, "task": echo}


def measure(target, data, in_flight, seconds):
    """Latencies of batches, each of so many calls in flight."""
    batches, began = [], time.perf_counter()
    while not batches or time.perf_counter() - began < seconds:
        sent = time.perf_counter()
        if in_flight == 1:
            assert ray.get(target.remote(data)) == data
        else:
            answers = ray.get([target.remote(data) for _ in range(in_flight)])
            assert answers[-1] == data
        batches.append(time.perf_counter() - sent)
    return batches, time.perf_counter() - began


for line in sys.stdin:
    asked = json.loads(line)
    target, data = TARGETS[asked["target"]], b"\x5a" * asked["bytes"]
    measure(target, data, asked["in_flight"], asked["warm_up"])
    batches, took = measure(target, data, asked["in_flight"], asked["seconds"])
    answer = {"calls": len(batches) * asked["in_flight"], "seconds": took, "latencies": batches}
    print(json.dumps(answer), flush=True)

ray.shutdown()
