"""The chart on a real node: installed, called from within and without, upgraded, removed.

Needs root and Linux, and the programs of `tools.sh node`.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import chart
import harness
import pytest
from control_plane import BIN
from node import ADDRESS, DEBIAN, Node
from processes import until

HERE = Path(__file__).parent
SPACE, HOST = "harbour", "harbour-roadstead"
PORT = 30411
IMAGE = "roadstead:tests"
SUMMARIZE = "demo.text_stats.analyze.v0_1.Analyze/Summarize"
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
TEXT = json.dumps({"text": "Ships lie at anchor."})
WORDS = '"words": "4"'

VALUES = {
    "image": {"tag": "tests", "pullPolicy": "Never"},
    "auth": {"insecureNoAuth": True},
    "storage": {"size": "1Gi", "storageClassName": "tests"},
    "service": {"type": "NodePort", "nodePort": PORT},
    "host": {
        "drainSeconds": 5,
        "settings": {"memory_budget": "1Gi", "guest_threads": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
    },
}


def build_image(output, name, *programs):
    build = chart.ROOT / "k8s/image/build.py"
    command = [sys.executable, build, "--output", output, "--name", name, *programs]
    subprocess.run(command, check=True, capture_output=True)
    return output


@pytest.fixture(scope="module")
def before():
    """How the machine was."""
    return machine()


def machine():
    """What a node that was not cleaned up after would have changed."""
    return {
        "sysctls": {name: Path("/proc/sys", name).read_text() for name in SYSCTLS},
        "mounts": Path("/proc/self/mounts").read_text(),
        "links": sorted(os.listdir("/sys/class/net")),
        "groups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*roadstead-tests*")),
        "folders": {
            name: os.path.exists(name)
            for name in ("/var/lib/kubelet", "/var/log/pods", "/var/lib/cni", "/run/containerd")
        },
    }


@pytest.fixture(scope="module")
def node(tmp_path_factory, before):
    if os.geteuid() != 0:
        pytest.exit("the node's tests need root: its containers are real")
    for program in (BIN / "kubelet", BIN / "coredns", DEBIAN / "usr/bin/containerd"):
        if not program.exists():
            pytest.exit(f"{program} is missing: run tests/cluster/tools.sh node")
    folder = tmp_path_factory.mktemp("node")
    pause = folder / "pause"
    subprocess.run(["cc", "-Os", "-static", HERE / "pause.c", "-o", pause], check=True)
    made = Node(folder / "quay")
    try:
        made.import_image(build_image(folder / "pause.tar", "pause:tests", pause))
        made.import_image(build_image(folder / "roadstead.tar", IMAGE, harness.BIN))
        yield made
    finally:
        made.stop()
    shutil.rmtree(folder)
    assert machine() == before


@pytest.fixture(scope="module")
def installed(node):
    """A release of one host with its data on a volume of the node."""
    volume = node.folder / "volume"
    volume.mkdir()
    os.chown(volume, 65532, 65532)
    node.plane.kubectl("apply", "-f", "-", stdin=json.dumps(volume_of(volume)))
    upgrade(node, "install", "--create-namespace")
    return node


def volume_of(path):
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "tests",
        "persistentVolumeReclaimPolicy": "Retain",
        "hostPath": {"path": str(path), "type": "Directory"},
    }
    metadata = {"name": "tests"}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}


def helm(node, *arguments):
    return node.plane.run(BIN / "helm", *arguments, "-n", SPACE)


def upgrade(node, verb, *flags):
    values = node.folder / "values.json"
    values.write_text(json.dumps(VALUES))
    try:
        wait = ("--wait", "--timeout", "3m")
        return helm(node, verb, "harbour", chart.CHART, "-f", values, *wait, *flags)
    except AssertionError as error:
        state = node.plane.kubectl("describe", "pods,pvc", "-n", SPACE, code=None).stdout
        logs = node.plane.kubectl("logs", "-n", SPACE, f"{HOST}-0", code=None).stdout
        raise AssertionError(f"{error}\n{state}\n{logs}") from None


def cli(node, *arguments, **options):
    """The command line from outside the cluster's network."""
    url = f"http://{ADDRESS}:{PORT}"
    return node.run(harness.BIN, "--host", url, *arguments, **options)


def call(node):
    return cli(node, "call", SUMMARIZE, "-d", TEXT, "--timeout", "60s")


def test_a_module_is_pushed_and_called_from_outside(installed):
    cli(installed, "push", harness.module("text-stats"))
    assert WORDS in call(installed).stdout


def test_a_pod_calls_it_by_its_name(installed):
    spec = {
        "restartPolicy": "Never",
        "containers": [
            {
                "name": "caller",
                "image": IMAGE,
                "imagePullPolicy": "Never",
                "args": ["--host", f"http://{HOST}:7411", "call", SUMMARIZE, "-d", TEXT],
            }
        ],
    }
    metadata = {"name": "caller", "namespace": SPACE}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    plane = installed.plane
    plane.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    where = ("-n", SPACE)
    succeeded = ("wait", *where, "--for=jsonpath={.status.phase}=Succeeded", "pod/caller")
    if not plane.asks(*succeeded, "--timeout=120s"):
        raise AssertionError(plane.kubectl("logs", *where, "caller", code=None).stdout)
    assert WORDS in plane.kubectl("logs", *where, "caller").stdout
    plane.kubectl("delete", *where, "pod/caller")


def test_the_release_tests_itself(installed):
    assert "Succeeded" in helm(installed, "test", "harbour").stdout


def test_the_host_runs_without_rights(installed):
    """As the kernel sees its process, not as its pod says."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_bytes()
            text = status.read_text()
        except OSError:
            continue
        if b"/etc/roadstead/host.toml" in command:
            fields = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            assert fields["Uid"].split() == ["65532"] * 4
            assert fields["NoNewPrivs"] == "1"
            assert fields["Seccomp"] == "2"
            assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
            return
    raise AssertionError("no host runs")


def test_metrics_are_scraped_through_the_headless_service(installed):
    pod = installed.plane.get("-n", SPACE, "pod", f"{HOST}-0")
    address = f"http://{pod['status']['podIP']}:7412/metrics"
    read = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
    assert "roadstead_ready 1" in installed.run(sys.executable, "-c", read, address).stdout
    slices = installed.plane.get("-n", SPACE, "endpointslices")["items"]
    ports = {
        port["name"]: port["port"]
        for each in slices
        if each["metadata"]["labels"]["kubernetes.io/service-name"] == f"{HOST}-hosts"
        for port in each["ports"]
    }
    assert ports == {"grpc": 7411, "metrics": 7412}


def test_an_upgrade_replaces_the_host_and_keeps_its_modules(installed):
    old = installed.plane.get("-n", SPACE, "pod", f"{HOST}-0")["metadata"]["uid"]
    upgrade(installed, "upgrade", "--set", "host.settings.max_upload=32Mi")
    new = installed.plane.get("-n", SPACE, "pod", f"{HOST}-0")["metadata"]["uid"]
    assert new != old
    assert WORDS in call(installed).stdout


def test_a_lost_pod_comes_back_with_its_modules(installed):
    plane = installed.plane
    plane.kubectl("delete", "pod", "-n", SPACE, f"{HOST}-0", "--force", "--grace-period=0")
    ready = ("wait", "-n", SPACE, "--for=condition=Ready", f"pod/{HOST}-0", "--timeout=2s")
    until("the host's return", lambda: plane.asks(*ready))
    assert WORDS in call(installed).stdout


def test_an_uninstalled_release_leaves_its_data_or_nothing(installed):
    plane = installed.plane
    uninstall(installed)
    assert left(plane) == {f"PersistentVolumeClaim/data-{HOST}-0"}
    # The next release of that name finds the data.
    upgrade(installed, "install", "--set", "storage.keep=false")
    assert WORDS in call(installed).stdout
    uninstall(installed)
    until("the claim's end", lambda: left(plane) == set())


def uninstall(node):
    helm(node, "uninstall", "harbour", "--wait")
    pods = ("get", "pods", "-n", SPACE, "-o", "name")
    until("the pods' end", lambda: not node.plane.kubectl(*pods).stdout)


def left(plane):
    kinds = "all,pvc,configmap,secret,serviceaccount,role,rolebinding,networkpolicy,pdb,lease"
    found = plane.get(kinds, "-n", SPACE)["items"]
    everywhere = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
    return {f"{each['kind']}/{each['metadata']['name']}" for each in found} - everywhere
