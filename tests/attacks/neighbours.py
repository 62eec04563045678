"""Three well-behaved modules that are called at a steady rate while others attack.

A process of its own: `python neighbours.py ADDRESS TIMES`; TIMES multiplies the rate. For each line
on its input it prints what happened since the line before, as JSON: what failed, and by method the
latencies in milliseconds. An answer that differs from the first one is a failure too. After the line
`rest` only the first goes on.
"""

import json
import sys
import threading
import time

import grpc

NAMESPACE = "neighbours"
TEXT = b"Ships lie at anchor while the tide turns. " * 12
# Method, request, calls a second.
CALLS = (
    ("/demo.text_stats.analyze.v0_1.Analyze/Summarize", b"\x0a\xf8\x03" + TEXT, 20),
    ("/demo.kv_filter.filter.v0_1.Filter/Files", b"", 20),
    ("/demo.reward.grade.v0_1.Grade/Equivalent", b"\x0a\x031/2\x12\x030.5", 10),
)
# Far beyond what any call takes: what is slower is no neighbour that goes on answering.
TIMEOUT = 20


class Neighbours:
    def __init__(self, address, times):
        self.address, self.times = address, times
        self.lock = threading.Lock()
        self.latencies, self.failures = {}, []
        self.resting = threading.Event()

    def start(self):
        ready = [threading.Event() for _ in CALLS]
        for event, call in zip(ready, CALLS, strict=True):
            rests = call is not CALLS[0]
            threading.Thread(target=self.work, args=(event, rests, *call), daemon=True).start()
        for event in ready:
            event.wait()

    def work(self, ready, rests, path, request, rate):
        options = [("grpc.use_local_subchannel_pool", 1)]
        call = grpc.insecure_channel(self.address, options=options).unary_unary(path)
        metadata = [("roadstead-namespace", NAMESPACE)]
        first = call(request, metadata=metadata, timeout=120)
        ready.set()
        due = time.monotonic()
        while not (rests and self.resting.is_set()):
            began = time.monotonic()
            failure = None
            try:
                if call(request, metadata=metadata, timeout=TIMEOUT) != first:
                    failure = f"{path}: another answer than before"
            except grpc.RpcError as error:
                failure = f"{path}: {error.code().name} {error.details()}"
            took = time.monotonic() - began
            with self.lock:
                if failure:
                    self.failures.append(failure)
                else:
                    self.latencies.setdefault(path, []).append(round(took * 1000, 3))
            # Behind its time it goes on at once, but never makes up for calls that it left out.
            due = max(due + 1 / (rate * self.times), began)
            time.sleep(max(0.0, due - time.monotonic()))

    def take(self):
        with self.lock:
            taken = {"latencies": self.latencies, "failures": self.failures}
            self.latencies, self.failures = {}, []
        return taken


def main():
    neighbours = Neighbours(sys.argv[1], float(sys.argv[2]))
    neighbours.start()
    print("ready", flush=True)
    for line in sys.stdin:
        if line == "rest\n":
            neighbours.resting.set()
        print(json.dumps(neighbours.take()), flush=True)


if __name__ == "__main__":
    main()
