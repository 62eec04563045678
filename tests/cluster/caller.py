#!/usr/bin/env python3
"""A client as docs/clients.md describes it, that calls without a pause and tells what came of it.

    caller.py TARGET METHOD REQUEST-AS-HEX THREADS NAMESPACE

Reads a line from its input, writes what happened since the last one as JSON, and ends with its input.
Times are of the machine's monotonic clock.
"""

import json
import sys
import threading
import time
from pathlib import Path

import grpc

PAGE = Path(__file__).resolve().parents[2] / "docs/clients.md"
SERVICE_CONFIG = PAGE.read_text().split("```json\n")[1].split("```")[0]
# A bound for what must happen at all.
DEADLINE = 60


class Caller:
    """One channel, and threads that call over it."""

    def __init__(
        self, target: str, method: str, request: bytes, threads: int, namespace: str
    ) -> None:
        options = [
            ("grpc.service_config", json.dumps(json.loads(SERVICE_CONFIG))),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        ]
        self.channel = grpc.insecure_channel(target, options=options)
        self.call = self.channel.unary_unary(method)
        self.request, self.metadata = request, [("roadstead-namespace", namespace)]
        self.lock = threading.Lock()
        self.reset()
        for _ in range(threads):
            threading.Thread(target=self.work, daemon=True).start()

    def reset(self) -> dict:
        """What happened since the last time."""
        with self.lock:
            told = getattr(self, "told", None)
            self.told = {"answered": 0, "failures": [], "slowest": [0.0, 0.0]}
        return told

    def work(self) -> None:
        while True:
            begun, failure = time.monotonic(), None
            try:
                self.call(self.request, timeout=DEADLINE, metadata=self.metadata)
            except grpc.RpcError as error:
                failure = f"{error.code().name}: {error.details()}"
            ended = time.monotonic()
            with self.lock:
                if failure:
                    self.told["failures"].append([ended, failure])
                else:
                    self.told["answered"] += 1
                self.told["slowest"] = max(self.told["slowest"], [ended - begun, begun])
            if failure:
                time.sleep(0.05)


def main() -> None:
    target, method, request, threads, namespace = sys.argv[1:]
    caller = Caller(target, method, bytes.fromhex(request), int(threads), namespace)
    for _ in sys.stdin:
        print(json.dumps(caller.reset()), flush=True)


if __name__ == "__main__":
    main()
