#!/usr/bin/env python3
"""Figures of a fleet, printed as lines of JSON. Not a test: nothing is expected of them.

    measure.py [publish] [requests] [kill] [drain] [install]       all of them unless some are named

Needs root and the programs of `tools.sh all`, and is best run with a release build (ROADSTEAD_BIN).
Times are in milliseconds. The machine's load counts: nothing else should run.
"""

import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/python"), str(ROOT / "k8s/image")]

from fleet import Fleet
from tide import HEIGHT, REQUEST, Tide
from watcher import Watcher

PUSHES = 60
CALLS = 200_000
KILLS = 5


def main() -> None:
    wanted = sys.argv[1:] or list(MEASURES)
    for name in wanted:
        with tempfile.TemporaryDirectory(prefix="roadstead-measure-") as folder:
            print(json.dumps({"measure": name, **MEASURES[name](Path(folder))}), flush=True)


@contextlib.contextmanager
def three_hosts(folder: Path):
    """A fleet with a version of the module everywhere."""
    fleet = Fleet(folder / "fleet")
    try:
        fleet.add("a", "b", "c")
        (folder / "tide").mkdir()
        tide = Tide(fleet, folder / "tide")
        tide.push(fleet.hosts["a"])
        tide.everywhere()
        yield fleet, tide
    finally:
        fleet.stop()


def publish(folder: Path) -> dict:
    """From the push's answer, and from its beginning, until the slowest of three hosts serves it."""
    with three_hosts(folder) as (fleet, tide):
        watcher = Watcher(fleet)
        after, whole = [], []
        for turn in range(PUSHES):
            host = list(fleet.hosts.values())[turn % 3]
            component = tide.component()
            begun = time.monotonic()
            fleet.cli(host, "push", component, "--name", "tide", "--version", f"1.0.{turn}")
            pushed = time.monotonic()
            seen = watcher.everywhere(f"1.0.{turn}")
            after.append(max(0.0, seen - pushed))
            whole.append(seen - begun)
        watcher.stop()
    return {"pushes": PUSHES, "after the answer": quantiles(after), "whole push": quantiles(whole)}


def quantiles(seconds: list[float]) -> dict:
    cut = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": round(cut[49] * 1e3, 1), "p99": round(cut[98] * 1e3, 1)}


def requests(folder: Path) -> dict:
    """What hosts ask the API server while they answer calls."""
    with three_hosts(folder) as (fleet, _):
        caller = fleet.call(HEIGHT, REQUEST, threads=8)
        caller.until(100)
        before, begun = len(fleet.requests()), time.monotonic()
        answered = sum(told["answered"] for told in caller.until(CALLS))
        asked = fleet.requests()[before:]
        took = time.monotonic() - begun
    watches = sum(each["verb"] == "watch" for each in asked)
    return {
        "calls": answered,
        "seconds": round(took),
        "requests but watches": len(asked) - watches,
        "watches renewed": watches,
    }


def kill(folder: Path) -> dict:
    """A host that is killed while clients call: what failed, and the longest that a call took."""
    with three_hosts(folder) as (fleet, tide):
        callers = [fleet.call(HEIGHT, REQUEST) for _ in range(2)]
        failed, longest, back = 0, [], []
        for turn in range(KILLS):
            host = list(fleet.hosts.values())[turn % 3]
            for each in callers:
                each.until(100)
            host.kill()
            told = [line for each in callers for line in each.until(300)]
            failed += sum(len(line["failures"]) for line in told)
            longest.append(max(line["slowest"][0] for line in told))
            begun = time.monotonic()
            host.start()
            back.append(time.monotonic() - begun)
            tide.everywhere()
    return {
        "kills": KILLS,
        "failed calls": failed,
        "loss to served elsewhere, worst call": round(max(longest) * 1e3, 1),
        "start of a host, median": round(statistics.median(back) * 1e3, 1),
    }


def drain(folder: Path) -> dict:
    """Each host stopped and started again in turn while clients call."""
    with three_hosts(folder) as (fleet, tide):
        callers = [fleet.call(HEIGHT, REQUEST) for _ in range(2)]
        told = []
        for host in fleet.hosts.values():
            host.stop()
            told += [line for each in callers for line in each.until(100)]
            host.start()
            tide.everywhere()
            told += [line for each in callers for line in each.until(100)]
    return {
        "calls": sum(line["answered"] for line in told),
        "failed calls": sum(len(line["failures"]) for line in told),
        "worst call": round(max(line["slowest"][0] for line in told) * 1e3, 1),
    }


def install(folder: Path) -> dict:
    """`helm install` of one host on a node that has the image, until a module answers its first call."""
    import harness
    import release
    from lent import CONTROLLER, pause_image
    from node import Node
    from test_node import SUMMARIZE, TEXT, VALUES

    node = Node(folder / "quay")
    try:
        node.import_image(pause_image(folder))
        programs = [harness.BIN, *filter(Path.exists, [CONTROLLER])]
        node.import_image(release.build_image(folder / "image.tar", release.IMAGE, *programs))
        volume = node.folder / "volume"
        volume.mkdir()
        os.chown(volume, 65532, 65532)
        node.plane.kubectl("apply", "-f", "-", stdin=json.dumps(release.volume_of(volume)))
        begun = time.monotonic()
        release.upgrade(node, VALUES, "install", "--create-namespace")
        ready = time.monotonic()
        release.cli(node, "push", harness.module("text-stats"))
        release.cli(node, "call", SUMMARIZE, "-d", TEXT)
        called = time.monotonic()
    finally:
        node.stop()
        shutil.rmtree(node.folder, ignore_errors=True)
    return {
        "install to ready": round((ready - begun) * 1e3),
        "install to first call": round((called - begun) * 1e3),
    }


MEASURES = {
    "publish": publish,
    "requests": requests,
    "kill": kill,
    "drain": drain,
    "install": install,
}

if __name__ == "__main__":
    main()
