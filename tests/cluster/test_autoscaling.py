"""The autoscaler on a real node: Prometheus scrapes the hosts, its adapter serves what it scraped as
custom metrics, and the number of hosts follows the requests that are open.

Needs root and Linux, and the programs of `tools.sh node` and `tools.sh metrics`.
"""

import base64
import contextlib
import json
import os
import subprocess

import chart
import harness
import pytest
from callers import Callers
from control_plane import BIN
from node import ADDRESS
from processes import finish, until
from release import HOST, PORT, SMALL, SPACE, cli, helm, uninstall, upgrade, volume_of
from tide import HEIGHT, REQUEST

ROWS = "demo.csv_reader.csv.v0_1.Csv/Rows"
TARGET = 4
STREAMS = 16
PROMETHEUS, ADAPTER = 9090, 6444
GROUP = "custom.metrics.k8s.io"

VALUES = {
    **SMALL,
    "auth": {"insecureNoAuth": True},
    "catalog": {"kind": "kubernetes"},
    "blobs": {"kind": "shared", "claim": "modules"},
    "autoscaling": {
        "enabled": True,
        "minReplicas": 2,
        "maxReplicas": 3,
        "target": str(TARGET),
        "scaleDownSeconds": 5,
    },
}


@pytest.fixture(scope="module")
def scaled(node):
    """A release with an autoscaler that reads a real Prometheus."""
    for program in ("prometheus", "prometheus-adapter"):
        if not (BIN / program).exists():
            pytest.exit(f"{program} is missing: run tests/cluster/tools.sh metrics")
    prometheus(node)
    adapter(node)
    node.plane.kubectl("create", "namespace", SPACE)
    volume = node.folder / "modules"
    volume.mkdir()
    os.chown(volume, 65532, 65532)
    apply(node, volume_of(volume, "modules", "ReadWriteMany"), claim("modules"))
    upgrade(node, VALUES, "install")
    yield node
    uninstall(node)


def apply(node, *found):
    node.plane.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(each) for each in found))


def claim(name):
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": name,
        "resources": {"requests": {"storage": "1Gi"}},
    }
    metadata = {"name": name, "namespace": SPACE}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def prometheus(node):
    """Scrapes the hosts' pods, and says of which pod each series is."""
    meta = "__meta_kubernetes"
    relabel = [
        {"action": "keep", "source_labels": [f"{meta}_pod_container_port_name"], "regex": "metrics"},
        {"source_labels": [f"{meta}_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{meta}_pod_name"], "target_label": "pod"},
    ]
    discovered = [{"role": "pod", "kubeconfig_file": str(node.plane.kubeconfig)}]
    job = {"job_name": "hosts", "honor_labels": True, "relabel_configs": relabel}
    job["kubernetes_sd_configs"] = discovered
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    file = node.folder / "prometheus.json"
    file.write_text(json.dumps(config))
    node.start(
        *("prometheus", BIN / "prometheus", f"--config.file={file}"),
        *(f"--storage.tsdb.path={node.folder}/prometheus", "--log.level=warn"),
        f"--web.listen-address={ADDRESS}:{PROMETHEUS}",
    )


def adapter(node):
    """Serves an API of the cluster, to which the API server forwards."""
    names = {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
    rule = {
        "seriesQuery": '{__name__=~"^roadstead_.*",pod!=""}',
        "resources": {"overrides": names},
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    }
    file = node.folder / "adapter.json"
    file.write_text(json.dumps({"rules": [rule]}))
    plane, service = node.plane, "custom-metrics"
    name = f"{service}.kube-system.svc"
    certificate, key = plane.authority.sign(service, f"/CN={name}", [f"DNS:{name}"])
    node.start(
        *("prometheus-adapter", BIN / "prometheus-adapter", f"--config={file}"),
        f"--prometheus-url=http://{ADDRESS}:{PROMETHEUS}",
        *("--metrics-relist-interval=2s", "--metrics-max-age=1m"),
        *(f"--{who}-kubeconfig={plane.kubeconfig}" for who in ("lister", "authentication")),
        *(f"--authorization-kubeconfig={plane.kubeconfig}", f"--secure-port={ADAPTER}"),
        *(f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"),
    )
    space = {"namespace": "kube-system"}
    ports = [{"port": 443, "protocol": "TCP", "targetPort": ADAPTER}]
    bundle = base64.b64encode(plane.authority.certificate.read_bytes()).decode()
    version = "v1beta2"
    apply(
        node,
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service, **space},
            "spec": {"ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": service, **space, "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "ports": [{"name": "", "port": ADAPTER, "protocol": "TCP"}],
            "endpoints": [{"addresses": [ADDRESS], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "version": version,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": bundle,
                "service": {"name": service, **space},
            },
        },
    )
    available = ("wait", "--for=condition=Available", f"apiservice/{version}.{GROUP}", "--timeout=1s")
    node.processes.wait_for("the adapter", lambda: plane.asks(*available))


class Streams:
    """Streams to a module that stay open: a process of the command line for each."""

    def __init__(self, node, count):
        self.node, self.count, self.open = node, count, []

    def keep(self):
        """Opens those that are not open, and sends a line on each, so that none ends for being idle."""
        self.open = [each for each in self.open if each.poll() is None]
        self.open += [self.begin() for _ in range(self.count - len(self.open))]
        for each in self.open:
            self.send(each, {"item": base64.b64encode(b"Kiel,12\n").decode()})

    def begin(self):
        url = f"http://{ADDRESS}:{PORT}"
        words = [*self.node.within, harness.BIN, "--host", url, "-n", SPACE, "call", ROWS, "-d", "@-"]
        with open(self.node.folder / "streams.log", "a") as log:
            begun = subprocess.Popen(
                list(map(str, words)), stdin=subprocess.PIPE, stdout=log, stderr=log, text=True
            )
        self.send(begun, {"start": {"options": {}}})
        return begun

    def send(self, stream, message):
        with contextlib.suppress(BrokenPipeError):
            stream.stdin.write(json.dumps(message) + "\n")
            stream.stdin.flush()

    def stop(self):
        for each in self.open:
            with contextlib.suppress(BrokenPipeError):
                each.stdin.close()
            finish(each)


def hosts(node):
    """How many the autoscaler wants, and how many are ready."""
    found = node.plane.get("-n", SPACE, "statefulset", HOST)
    return found["spec"]["replicas"], found["status"].get("readyReplicas", 0)


def test_hosts_come_and_go_with_the_requests_that_are_open(scaled):
    cli(scaled, "-n", SPACE, "push", harness.module("csv-reader"))
    until("two hosts", lambda: hosts(scaled) == (2, 2))
    streams = Streams(scaled, STREAMS)
    try:

        def grown():
            streams.keep()
            return hosts(scaled) == (3, 3)

        until("a third host", grown)
    finally:
        streams.stop()
    until("two hosts again", lambda: hosts(scaled) == (2, 2))
    events = scaled.plane.get("-n", SPACE, "events", "--field-selector=reason=SuccessfulRescale")
    said = " ".join(each["message"] for each in events["items"])
    assert "roadstead_open_requests above target" in said, said


def test_the_release_tests_itself(scaled):
    assert "Succeeded" in helm(scaled, "test", "harbour").stdout


def test_a_rolling_restart_fails_no_call(scaled):
    """Pods are replaced one by one while a client calls that resolves all of them."""
    names = scaled.folder / "resolv.conf"
    names.write_text(f"nameserver {ADDRESS}\n")
    scaled.run("mount", "--bind", names, "/etc/resolv.conf")
    component = harness.fixture("tide-1", scaled.folder / "tide.wasm")
    cli(scaled, "-n", SPACE, "push", component, "--name", "tide")
    target = f"dns:///{HOST}-hosts.{SPACE}.svc.cluster.local:7411"
    client = Callers(scaled.within, target, HEIGHT, REQUEST, 2, SPACE)
    try:
        # Both may have heard of the module by now.
        until("answers", lambda: not client.until(50)[-1]["failures"])
        restart = ("rollout", "-n", SPACE)
        scaled.plane.kubectl(*restart, "restart", f"statefulset/{HOST}")
        scaled.plane.kubectl(*restart, "status", f"statefulset/{HOST}", "--timeout=5m")
        until("two hosts", lambda: hosts(scaled) == (2, 2))
        failures = [failure for told in client.until(50) for failure in told["failures"]]
        assert not failures, failures[:3]
    finally:
        client.stop()


def test_the_metric_is_the_pods_own(scaled):
    """What the autoscaler asks for, as the API server answers it."""
    chosen = chart.one(chart.render(scaled.folder, "fleet"), "HorizontalPodAutoscaler")
    name = chosen["spec"]["metrics"][0]["pods"]["metric"]["name"]
    path = f"/apis/{GROUP}/v1beta2/namespaces/{SPACE}/pods/*/{name}"
    found = json.loads(scaled.plane.kubectl("get", f"--raw={path}").stdout)["items"]
    assert {each["describedObject"]["name"] for each in found} >= {f"{HOST}-0", f"{HOST}-1"}
