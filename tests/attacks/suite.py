"""Runs attacks against one host among neighbours, and holds what each did to what it may do."""

import json
import math
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import harness
import measure
from grpc_health.v1 import health_pb2, health_pb2_grpc
from measure import Held
from neighbours import NAMESPACE as NEIGHBOURS
from stage import Stage

HERE = Path(__file__).resolve().parent
WELL_BEHAVED = ("text-stats", "kv-filter", "reward")
# Calls of neighbours that must have come back for an attack to count as one that they outlived.
ENOUGH_CALLS = 6
# How long what an attack took may take to come back.
PATIENCE = 30
# What is aimed at: the neighbours' p99 under attack over that of the quiet run.
AIM_SPARE, AIM_STARVED = 1.5, 2.0
# The quota that leaves an attacker's neighbours CPU to spare.
QUARTER = "quota: {cpu: 500m, borrow: false}"
STARVING_CALLERS = 8
# The same loads made by processes outside the host: what no host on this machine could do better.
OUTSIDE = {"spare": (1, 0.5), "starved": (2, 1.0)}
SPINNER = """
import sys, time
busy = float(sys.argv[1]) / 100
while True:
    until = time.monotonic() + busy
    while time.monotonic() < until:
        pass
    time.sleep(0.01 - busy)
"""
# Seconds after which the host holds what it needs for its neighbours, and no more.
WARM_UP = 3


@dataclass
class Result:
    """What one attack came to."""

    attack: object
    got: tuple[str, ...]
    alive: bool
    calls: int
    failures: list[str]
    before: Held
    after: Held
    seconds: float
    # Pressure by its name → the neighbours' p99 over the quiet one.
    ratios: dict[str, float] = field(default_factory=dict)

    @property
    def faults(self):
        """What went wrong, in words."""
        found = []
        if not self.attack.right(self.got):
            got = ", ".join(f"{got} {getattr(got, 'text', '')}".strip() for got in self.got)
            found.append(f"wanted {' or '.join(self.attack.wanted)}, got {got}")
        if not self.alive:
            found.append("the host died or stopped answering")
        found += sorted(set(self.failures))[:3]
        if self.alive and self.calls < ENOUGH_CALLS:
            found.append("the neighbours got no answers")
        if self.alive and not self.after.within(self.before, measure.OF_ONE):
            found.append(f"left {self.after} where there was {self.before}")
        return found

    def as_json(self):
        return {
            "name": self.attack.name,
            "group": self.attack.group,
            "does": self.attack.does,
            "wanted": self.attack.wanted,
            "got": self.got,
            "host_lived": self.alive,
            "neighbour_calls": self.calls,
            "neighbour_errors": len(self.failures),
            "p99_ratios": self.ratios,
            "before": vars(self.before),
            "after": vars(self.after),
            "seconds": round(self.seconds, 2),
            "faults": self.faults,
        }


class Suite:
    """A host with its neighbours, for as long as a `with` lasts."""

    def __init__(self, pressure=0, settings=""):
        # Seconds of each measurement of the neighbours' latency.
        self.pressure = pressure
        # The host's settings file.
        self.settings = settings
        self.deaths = 0
        self.directory = Path(tempfile.mkdtemp(prefix="roadstead-attacks-"))

    def __enter__(self):
        self.start()
        self.quiet = self.listen(max(self.pressure, WARM_UP))
        self.outside = {name: self.beside(*load) for name, load in OUTSIDE.items() if self.pressure}
        self.first = Held.of(self.pid)
        return self

    def __exit__(self, *exception):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def pid(self):
        return self.host.process.pid

    def start(self):
        scratch = self.directory / "scratch"
        scratch.mkdir(exist_ok=True)
        settings = self.directory / "settings.toml"
        settings.write_text(self.settings)
        self.host = harness.Host(
            self.directory / "data",
            "--config", settings,
            "--dir", f"datasets={harness.ROOT / 'modules/kv-filter/data'}",
            "--dir", f"scratch={scratch}:rw",
            "--memory-budget", "2Gi",
            "--max-upload", "24Mi",
        )  # fmt: skip
        self.host.scratch = scratch
        self.host.start()
        self.stage = Stage(self.host)
        for name in WELL_BEHAVED:
            spec = harness.MODULES / f"{name}.yaml"
            text = spec.read_text() if spec.exists() else ""
            wasm = harness.module(name).read_bytes()
            self.stage.push(name, wasm, text, namespace=NEIGHBOURS)
        # What clients call that bring no guest of their own.
        self.stage.push("target", harness.module("text-stats").read_bytes())
        # A percentile needs many calls.
        times = 3 if self.pressure else 1
        self.neighbours = subprocess.Popen(
            [sys.executable, HERE / "neighbours.py", self.host.address, str(times)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self.neighbours.stdout.readline() != "ready\n":
            raise AssertionError(f"the neighbours cannot call: {self.host.log()}")

    def stop(self):
        self.neighbours.kill()
        self.neighbours.wait()
        self.stage.channel.close()
        if self.host.process.poll() is None:
            self.host.kill()

    def heard(self, then=""):
        """What happened to the neighbours since they were asked last; `then` may bid them rest."""
        self.neighbours.stdin.write(f"{then}\n")
        self.neighbours.stdin.flush()
        return json.loads(self.neighbours.stdout.readline())

    def listen(self, seconds):
        """The neighbours' p99 by method over some seconds."""
        self.heard()
        time.sleep(seconds)
        return {path: percentile(times) for path, times in self.heard()["latencies"].items()}

    def try_out(self, attack):
        """One attack from before to after."""
        for file in self.host.scratch.iterdir():
            file.unlink()
        self.heard()
        before, began = Held.of(self.pid), time.monotonic()
        try:
            got = attack.run(self.stage)
        except Exception as error:  # whatever it is, the other attacks go on
            got = (f"{type(error).__name__}: {error}",)
        seconds = time.monotonic() - began
        ratios = self.under_pressure(attack) if attack.heavy and self.pressure else {}
        alive = self.answers()
        calls, failures = self.outlived()
        after = measure.settled(self.pid, before, measure.OF_ONE, PATIENCE) if alive else before
        result = Result(attack, got, alive, calls, failures, before, after, seconds, ratios)
        if not alive:
            self.deaths += 1
            self.stop()
            self.start()
        return result

    def outlived(self):
        """Calls of the neighbours until enough came back, and what failed."""
        calls, failures, deadline = 0, [], time.monotonic() + PATIENCE
        while calls < ENOUGH_CALLS and not failures and time.monotonic() < deadline:
            time.sleep(0.05)
            heard = self.heard()
            calls += sum(map(len, heard["latencies"].values()))
            failures += heard["failures"]
        return calls, failures

    def answers(self):
        """Whether the host lives and says that it is well."""
        if self.host.process.poll() is not None:
            return False
        try:
            with self.host.channel() as channel:
                health = health_pb2_grpc.HealthStub(channel)
                said = health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
        except grpc.RpcError:
            return False
        return said.status == health_pb2.HealthCheckResponse.SERVING

    def under_pressure(self, attack):
        """The neighbours' p99 while the attack goes on and on, over the quiet one."""
        return {
            "spare": self.ratio(attack, 1, QUARTER),
            "starved": self.ratio(attack, STARVING_CALLERS, ""),
        }

    def ratio(self, attack, callers, quota):
        over = threading.Event()

        def attacker():
            while not over.is_set():
                attack.again(self.stage)

        threads = [threading.Thread(target=attacker) for _ in range(callers)]
        with attack.standing(self.stage, quota):
            for thread in threads:
                thread.start()
            worst = self.worst()
            over.set()
            for thread in threads:
                thread.join()
        return worst

    def beside(self, processes, busy):
        """The ratio beside processes that are no concern of the host's, each busy for a part of the time."""
        command = [sys.executable, "-c", SPINNER, str(busy)]
        spinners = [subprocess.Popen(command) for _ in range(processes)]
        try:
            return self.worst()
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.wait()

    def worst(self):
        under = self.listen(self.pressure)
        ratios = [under[path] / quiet for path, quiet in self.quiet.items() if path in under]
        return round(max(ratios), 2) if len(ratios) == len(self.quiet) else math.inf

    def held(self):
        return Held.of(self.pid)

    def left(self, before):
        """What the host holds after everything, and whether that is what it held before.

        All neighbours but one rest: who reads files keeps every idle thread of a pool awake. One goes
        on, because the allocator gives back what is free only while somebody allocates.
        """
        self.heard("rest")
        held = measure.settled(self.pid, before, measure.OF_ALL, PATIENCE)
        return held, held.within(before, measure.OF_ALL)


def percentile(times):
    """The 99th percentile."""
    return sorted(times)[min(len(times) - 1, math.floor(len(times) * 0.99))] if times else 0.0
