"""The functions of modules/linalg as a Ray actor, on a cluster of this machine alone; how long it
takes to make one, and to have an answer of one that was killed.

Each line of input asks for one measurement and is answered by one line: see `worker.rs`. A target is
a method, `created` or `killed`.
"""

import json
import os
import signal
import sys
import time

os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np  # noqa: E402
import ray  # noqa: E402

ray.init(
    num_cpus=os.cpu_count(),
    include_dashboard=False,
    log_to_driver=False,
    configure_logging=False,
    object_store_memory=400 << 20,
)

SIXTEEN = np.linspace(0, 1, 16)
PATIENCE = 120


@ray.remote
class Linalg:
    def __init__(self):
        self.steps = 0

    def describe(self, values):
        numbers = np.asarray(values, np.float64)
        return {
            "count": numbers.size,
            "mean": float(numbers.mean()),
            "deviation": float(numbers.std()),
            "least": float(numbers.min()),
            "most": float(numbers.max()),
        }

    def scale(self, values, factor):
        return np.asarray(values, np.float32) * np.float32(factor)

    def step(self, count):
        self.steps += count
        return self.steps

    def status(self):
        return self.steps

    def process(self):
        return os.getpid()


def described(actor, values, in_flight):
    answers = ray.get([actor.describe.remote(values) for _ in range(in_flight)])
    assert answers[-1]["count"] == len(values)


def scaled(actor, values, _):
    assert len(ray.get(actor.scale.remote(values, 1.0))) == len(values)


def measure(batch, values, in_flight, seconds):
    """Latencies of batches, each of so many calls in flight."""
    batches, began = [], time.perf_counter()
    while not batches or time.perf_counter() - began < seconds:
        sent = time.perf_counter()
        batch(actor, values, in_flight)
        batches.append(time.perf_counter() - sent)
    return batches, time.perf_counter() - began


def once(took, kept=None):
    return {"calls": 1, "seconds": took, "latencies": [took], "kept": kept}


def created():
    """From making an actor to its first answer."""
    began = time.perf_counter()
    made = Linalg.remote()
    described(made, SIXTEEN, 1)
    took = time.perf_counter() - began
    ray.kill(made)
    return once(took)


def killed():
    """From the end of an actor's process to the next answer, and how much of its work that knows."""
    steps = 100
    made = Linalg.options(max_restarts=-1).remote()
    assert ray.get(made.step.remote(steps)) == steps
    os.kill(ray.get(made.process.remote()), signal.SIGKILL)
    began = time.perf_counter()
    while True:
        try:
            known = ray.get(made.status.remote())
            break
        except ray.exceptions.RayActorError:
            assert time.perf_counter() - began < PATIENCE
    took = time.perf_counter() - began
    ray.kill(made)
    return once(took, known / steps)


actor = Linalg.remote()
METHODS = {"describe": (described, np.float64), "scale": (scaled, np.float32)}
ONCE = {"created": created, "killed": killed}

for line in sys.stdin:
    asked = json.loads(line)
    if asked["target"] in ONCE:
        print(json.dumps(ONCE[asked["target"]]()), flush=True)
        continue
    batch, kind = METHODS[asked["target"]]
    values = np.linspace(0, 1, asked["bytes"] // kind().nbytes, dtype=kind)
    measure(batch, values, asked["in_flight"], asked["warm_up"])
    batches, took = measure(batch, values, asked["in_flight"], asked["seconds"])
    answer = {"calls": len(batches) * asked["in_flight"], "seconds": took, "latencies": batches}
    print(json.dumps(answer), flush=True)

ray.shutdown()
