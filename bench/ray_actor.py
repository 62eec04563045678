"""Calls of one Ray actor, one at a time, on a cluster of this machine alone."""

import json
import os
import time

os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402

SECONDS = 5

ray.init(
    num_cpus=os.cpu_count(),
    include_dashboard=False,
    log_to_driver=False,
    configure_logging=False,
    object_store_memory=100 << 20,
)


@ray.remote
class Echo:
    def bytes(self, data):
        return data


actor = Echo.remote()
for _ in range(200):
    ray.get(actor.bytes.remote(b"sixteen bytes ok"))
calls, began = 0, time.perf_counter()
while time.perf_counter() - began < SECONDS:
    assert ray.get(actor.bytes.remote(b"sixteen bytes ok")) == b"sixteen bytes ok"
    calls += 1
elapsed = time.perf_counter() - began
ray.shutdown()
print(json.dumps({"calls_per_second": calls / elapsed}))
