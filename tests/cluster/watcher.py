#!/usr/bin/env python3
"""Asks each host of a fleet all the while by which version it answers.

As a program, `watcher.py METHOD REQUEST-AS-HEX ADDRESS…` writes a line of JSON, `[host, version, time]`,
each time the answer is another; times are of the machine's monotonic clock. It ends with its input.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc

# Between two questions to a host; the error of what is measured.
PAUSE = 0.002
METHOD = "/acme.tide.tide.v0_1.Tide/Height"
REQUEST = b"\x08\x05"


class Watcher:
    """The program, run on the hub of a fleet."""

    def __init__(self, fleet) -> None:
        self.hosts = len(fleet.hosts)
        addresses = [host.address for host in fleet.hosts.values()]
        words = [sys.executable, Path(__file__), METHOD, REQUEST.hex(), *addresses]
        self.process = subprocess.Popen(
            [*fleet.hub.within, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.seen: dict[str, dict[int, float]] = {}

    def everywhere(self, version: str) -> float:
        """When the last host began to answer by a version."""
        while len(self.seen.get(version, {})) < self.hosts:
            host, answered, at = json.loads(self.process.stdout.readline())
            self.seen.setdefault(answered, {}).setdefault(host, at)
        return max(self.seen[version].values())

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


WRITING = threading.Lock()


def watch(number: int, address: str, method: str, request: bytes) -> None:
    call = grpc.insecure_channel(address).unary_unary(method)
    last = ""
    while True:
        _, said = call.with_call(request, timeout=60)
        version = dict(said.trailing_metadata())["roadstead-module"].partition("@")[2]
        if version != last:
            line = json.dumps([number, version, time.monotonic()])
            with WRITING:
                print(line, flush=True)
            last = version
        time.sleep(PAUSE)


def main() -> None:
    method, request, *addresses = sys.argv[1:]
    for number, address in enumerate(addresses):
        told = (number, address, method, bytes.fromhex(request))
        threading.Thread(target=watch, args=told, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
