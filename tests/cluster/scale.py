#!/usr/bin/env python3
"""What a controller costs with many modules and hosts, printed as lines of JSON. Not a test.

    scale.py [--modules 1000] [--hosts 10,100] [--seconds 60]

A real API server, the controller, and `fleet_load`, whose hosts report every module. For each number
of hosts: seconds until every module's status is written, the writes that took, and, once quiet, writes
and processor time while the hosts' counters go on changing. Then every module gets a second version
with a rollout; how long until all of them have their first step.

ROADSTEAD_CONTROLLER and FLEET_LOAD name the programs; target/release/ unless set.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE)]

from certificates import Authority
from control_plane import ControlPlane, free_ports
from processes import Processes

CONTROLLER = os.environ.get("ROADSTEAD_CONTROLLER", str(ROOT / "target/release/roadstead-controller"))
LOAD = os.environ.get("FLEET_LOAD", str(ROOT / "target/release/examples/fleet_load"))
GROUP = "roadstead.dev/v1alpha1"
DIGEST = "sha256:" + "ab" * 32
BATCH = 100
PATIENCE = 600


class Scale:
    """A control plane, a controller, and the modules `load-0`, `load-1`, …"""

    def __init__(self, folder: Path, modules: int) -> None:
        self.folder, self.modules = folder, modules
        self.plane = ControlPlane(folder / "control-plane")
        self.processes = Processes(folder / "logs")
        self.trust = Authority(folder / "certificates")
        self.port, self.metrics_port = free_ports(2)

    def objects(self, version: str, rollout: dict | None = None) -> float:
        """Applies a version of every module; the seconds that took."""
        begun = time.monotonic()
        batches = [range(at, min(at + BATCH, self.modules)) for at in range(0, self.modules, BATCH)]

        def apply(batch: range) -> None:
            found = []
            for number in batch:
                name = f"load-{number}"
                spec = {"rollout": rollout} if rollout else {}
                found.append({"kind": "Module", "metadata": {"name": name}, "spec": spec})
                found.append(
                    {
                        "kind": "ModuleVersion",
                        "metadata": {"name": f"{name}-{version}"},
                        "spec": {
                            "module": name,
                            "version": version,
                            "digest": DIGEST,
                            "size": 1,
                            "component": DIGEST,
                            "interface": DIGEST,
                        },
                    }
                )
            text = "\n---\n".join(json.dumps({"apiVersion": GROUP, **each}) for each in found)
            self.plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(apply, batches))
        return time.monotonic() - begun

    def control(self) -> subprocess.Popen:
        certificate, key = self.trust.sign("controller", "/CN=controller", ["DNS:localhost", "IP:127.0.0.1"])
        return self.processes.start(
            *("controller", CONTROLLER, f"--listen=127.0.0.1:{self.port}"),
            *(f"--metrics=127.0.0.1:{self.metrics_port}", "--namespace=default"),
            *(f"--tls-cert={certificate}", f"--tls-key={key}", f"--client-ca={self.trust.certificate}"),
            f"--kubeconfig={self.plane.kubeconfig}",
        )

    def load(self, hosts: int, versions: str) -> subprocess.Popen:
        certificate, key = self.trust.sign("hosts", "/CN=hosts")
        return self.processes.start(
            *("load", LOAD, f"--controller=https://127.0.0.1:{self.port}"),
            *(f"--ca={self.trust.certificate}", f"--cert={certificate}", f"--key={key}"),
            *(f"--hosts={hosts}", f"--modules={self.modules}", f"--versions={versions}"),
            f"--seconds={PATIENCE}",
        )

    def writes(self, since: dict[str, int] | None = None) -> dict[str, int]:
        """What the controller has written so far, or since then, by kind."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics").read().decode()
        name = "roadstead_controller_writes_total{"
        series = (line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name))
        found = {labels.split('"')[1]: int(value) for labels, value in series}
        return {kind: count - (since or {}).get(kind, 0) for kind, count in found.items()}

    def statuses(self, done) -> bool:
        found = self.plane.get("modules.roadstead.dev")["items"]
        return len(found) == self.modules and all(done(each.get("status", {})) for each in found)

    def settled(self, done) -> float:
        """Seconds until every module's status says so."""
        begun = time.monotonic()
        while not self.statuses(done):
            assert time.monotonic() - begun < PATIENCE, self.processes.log("controller")
            time.sleep(1)
        return time.monotonic() - begun

    def stop(self) -> None:
        self.processes.stop()
        self.plane.stop()


def ready(status: dict) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", []))


def rolling(status: dict) -> bool:
    return [each["percent"] for each in status.get("serving", [])] in ([90, 10], [10, 90])


def cost(process: subprocess.Popen) -> dict:
    """Resident memory in MiB, and seconds of processor time so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    ticks = os.sysconf("SC_CLK_TCK")
    return {
        "resident_mib": round(int(resident.split()[1]) / 1024),
        "cpu_seconds": (int(fields[11]) + int(fields[12])) / ticks,
    }


def measure(modules: int, hosts: int, seconds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="roadstead-scale-") as folder:
        scale = Scale(Path(folder), modules)
        try:
            definitions = ROOT / "k8s/crds"
            scale.plane.kubectl("apply", "--server-side", "-f", definitions)
            crds = ("wait", "--for=condition=Established", "crd", "--all")
            scale.plane.kubectl(*crds)
            applied = scale.objects("0.1.0")
            controller = scale.control()
            load = scale.load(hosts, "0.1.0")
            say = {"modules": modules, "hosts": hosts}
            took = scale.settled(ready)
            print(json.dumps(say | {"applied_s": round(applied), "ready_s": round(took), "writes": scale.writes()} | cost(controller)), flush=True)
            before, begun = cost(controller), scale.writes()
            time.sleep(seconds)
            after = cost(controller)
            used = (after["cpu_seconds"] - before["cpu_seconds"]) / seconds
            quiet = {"quiet_s": seconds, "writes": scale.writes(begun), "cores": round(used, 3)}
            print(json.dumps(say | quiet | {"resident_mib": after["resident_mib"]}), flush=True)
            load.terminate()
            load.wait()
            scale.processes.running = [each for each in scale.processes.running if each[1] is not load]
            scale.load(hosts, "0.1.0,0.2.0")
            begun = scale.writes()
            plan = {"steps": [10, 100], "interval": "1h", "minimumCalls": 1}
            applied = scale.objects("0.2.0", plan)
            took = scale.settled(rolling)
            print(json.dumps(say | {"second_version_applied_s": round(applied), "first_step_after_s": round(took), "writes": scale.writes(begun)} | cost(controller)), flush=True)
        finally:
            scale.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--modules", type=int, default=1000)
    parser.add_argument("--hosts", default="10,100")
    parser.add_argument("--seconds", type=int, default=60)
    asked = parser.parse_args()
    for hosts in asked.hosts.split(","):
        measure(asked.modules, int(hosts), asked.seconds)


if __name__ == "__main__":
    main()
