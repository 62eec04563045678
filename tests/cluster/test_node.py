"""The chart on a real node: installed, called from within and without, upgraded, removed.

Needs root and Linux, and the programs of `tools.sh node`.
"""

import json
import os
import sys
from pathlib import Path

import harness
import pytest
from processes import until
from release import HOST, IMAGE, PORT, SPACE, cli, helm, uninstall, upgrade, volume_of

SUMMARIZE = "demo.text_stats.analyze.v0_1.Analyze/Summarize"
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


@pytest.fixture(scope="module")
def installed(node):
    """A release of one host with its data on a volume of the node."""
    volume = node.folder / "volume"
    volume.mkdir()
    os.chown(volume, 65532, 65532)
    node.plane.kubectl("apply", "-f", "-", stdin=json.dumps(volume_of(volume)))
    upgrade(node, VALUES, "install", "--create-namespace")
    return node


def call(node, **options):
    return cli(node, "call", SUMMARIZE, "-d", TEXT, "--timeout", "60s", **options)


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
    upgrade(installed, VALUES, "upgrade", "--set", "host.settings.max_upload=32Mi")
    new = installed.plane.get("-n", SPACE, "pod", f"{HOST}-0")["metadata"]["uid"]
    assert new != old
    assert WORDS in call(installed).stdout


def test_a_lost_pod_comes_back_with_its_modules(installed):
    plane = installed.plane
    plane.kubectl("delete", "pod", "-n", SPACE, f"{HOST}-0", "--force", "--grace-period=0")
    ready = ("wait", "-n", SPACE, "--for=condition=Ready", f"pod/{HOST}-0", "--timeout=2s")
    until("the host's return", lambda: plane.asks(*ready))
    # The node's rules hear of it a moment later.
    until("an answer", lambda: WORDS in call(installed, code=None).stdout)


def test_an_uninstalled_release_leaves_its_data_or_nothing(installed):
    plane = installed.plane
    uninstall(installed)
    assert left(plane) == {f"PersistentVolumeClaim/data-{HOST}-0"}
    # The next release of that name finds the data.
    upgrade(installed, VALUES, "install", "--set", "storage.keep=false")
    until("the node's rules hear of it", lambda: WORDS in call(installed, code=None).stdout)
    uninstall(installed)
    until("the claim's end", lambda: left(plane) == set())


def left(plane):
    kinds = "all,pvc,configmap,secret,serviceaccount,role,rolebinding,networkpolicy,pdb,lease"
    found = plane.get(kinds, "-n", SPACE)["items"]
    everywhere = {"ConfigMap/kube-root-ca.crt", "ServiceAccount/default"}
    return {f"{each['kind']}/{each['metadata']['name']}" for each in found} - everywhere
