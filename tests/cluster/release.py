"""A release of the chart on a node of the tests: installed, asked and removed."""

import json
import subprocess
import sys

import chart
import harness
from control_plane import BIN
from node import ADDRESS
from processes import until

SPACE, HOST = "harbour", "harbour-roadstead"
PORT = 30411
IMAGE = "roadstead:tests"
# A release of hosts that fit beside each other on a node of the tests.
SMALL = {
    "image": {"tag": IMAGE.rpartition(":")[2], "pullPolicy": "Never"},
    "storage": {"kind": "ephemeral", "size": "1Gi"},
    "service": {"type": "NodePort", "nodePort": PORT},
    "host": {
        "drainSeconds": 1,
        "settings": {
            "memory_budget": "600Mi",
            "guest_threads": 1,
            "compile": {"workers": 1, "memory": "512Mi"},
        },
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
    },
}


def build_image(output, name, *programs):
    build = chart.ROOT / "k8s/image/build.py"
    command = [sys.executable, build, "--output", output, "--name", name, *programs]
    subprocess.run(command, check=True, capture_output=True)
    return output


def volume_of(path, name="tests", mode="ReadWriteOnce"):
    """A volume that is a folder of the node."""
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": [mode],
        "storageClassName": name,
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": str(path), "type": "Directory"},
    }
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def helm(node, *arguments):
    return node.plane.run(BIN / "helm", *arguments, "-n", SPACE)


def upgrade(node, values, verb, *flags):
    """Installs or upgrades, and waits until all of it is ready."""
    file = node.folder / "values.json"
    file.write_text(json.dumps(values))
    try:
        wait = ("--wait", "--timeout", "3m")
        return helm(node, verb, "harbour", chart.CHART, "-f", file, *wait, *flags)
    except AssertionError as error:
        state = node.plane.kubectl("describe", "pods,pvc", "-n", SPACE, code=None).stdout
        logs = node.plane.kubectl("logs", "-n", SPACE, f"{HOST}-0", code=None).stdout
        raise AssertionError(f"{error}\n{state}\n{logs}") from None


def cli(node, *arguments, **options):
    """The command line from outside the cluster's network."""
    url = f"http://{ADDRESS}:{PORT}"
    return node.run(harness.BIN, "--host", url, *arguments, **options)


def uninstall(node):
    helm(node, "uninstall", "harbour", "--wait")
    pods = ("get", "pods", "-n", SPACE, "-o", "name")
    until("the pods' end", lambda: not node.plane.kubectl(*pods).stdout)
