"""The chart without a cluster: what it makes of values, and which values it refuses."""

import base64
import json
import os
import re
import subprocess
import tomllib
import urllib.parse
import urllib.request

import chart
import harness
import pytest
from control_plane import BIN


@pytest.mark.parametrize("case", chart.CASES)
def test_lints(tmp_path, case):
    said = chart.helm(tmp_path, "lint", "--strict", chart.CHART, "-f", chart.values_of(case))
    assert "0 chart(s) failed" in said.stdout


# Certificates and keys that the chart makes.
SECRET = re.compile(r"^(  (?:ca\.crt|tls\.crt|tls\.key|key)): [A-Za-z0-9+/=]{40,}$", re.M)


@pytest.mark.parametrize("case", chart.CASES)
def test_renders_as_written_down(tmp_path, case):
    """UPDATE_GOLDEN=1 writes it down anew."""
    rendered = chart.template(tmp_path, "-f", chart.values_of(case)).stdout
    # What stands in files of its own is not written down twice.
    kept = ("/templates/crds.yaml", "/monitoring/dashboard.yaml")
    parts = rendered.split("\n---\n")
    parts = [part for part in parts if not any(name in part for name in kept)]
    rendered = SECRET.sub(r"\1: made anew each time", "\n---\n".join(parts))
    golden = chart.GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


SHARED = {"catalog.kind": "kubernetes", "blobs.kind": "s3", "blobs.bucket": "modules"}
FLEET = SHARED | {"auth.insecureNoAuth": True}
REFUSED = {
    "an unknown value": {"replicas": 2},
    "an unknown inner value": {"host.replica": 2},
    "hosts without common names": {"host.replicas": 2},
    "hosts without common blobs": {"host.replicas": 2, "catalog.kind": "kubernetes"},
    "hosts without common names, scaled": {"autoscaling.enabled": True},
    "a bucket without a name": {"blobs.kind": "gcs"},
    "a shared volume without a claim": {"blobs.kind": "shared"},
    "a controller without a catalog": {"controller.enabled": True},
    "a setting that the chart makes": {"host.settings.listen": "127.0.0.1:1"},
    "secrets in the settings": {"host.settings.offers.secrets.key.file": "/x"},
    "everybody and somebody": {"auth.insecureNoAuth": True, "auth.policy.secret": "policy"},
    "a pool in plain text": SHARED | {"host.replicas": 2, "auth.policy.secret": "policy"},
    "a scaled pool in plain text": SHARED | {"autoscaling.enabled": True},
    "a pool that knows nobody's certificate": FLEET | {"host.replicas": 2, "tls.secret": "tls"},
    "a controller's certificate without the hosts'": FLEET | {"controller.tls.secret": "tls"},
    "hosts' certificate without the controller's": FLEET | {"controller.tls.hosts": "tls"},
    "a controller that is neither": {"controller.enabled": "yes"},
    "a setting of the controller's": {"host.settings.controller.address": "https://x:1"},
    "an unknown catalog": {"catalog.kind": "etcd"},
    "an unknown storage": {"storage.kind": "disk"},
    "a size that is none": {"storage.size": "much"},
    "a port that is none": {"service.port": 70000},
    "a digest that is none": {"image.digest": "sha256:1"},
    "a secret for nobody": {"secrets.key": {"secret": "a", "key": "b", "to": []}},
    "native modules without a controller": {"native.enabled": True},
    "native modules of hosts that are alone": SHARED
    | {"native.enabled": True, "auth.policy.secret": "a", "controller.enabled": False},
    "native modules of everybody": FLEET | {"native.enabled": True},
    "an account without its namespace": {"native.allow.serviceAccounts": ["trainer"]},
    "a native secret for nobody": {"native.allow.secrets.k": {"secret": "a", "key": "b", "to": []}},
    "an unknown native value": {"native.hostPaths": ["/"]},
    "a namespace that is none": {"catalog.namespaces": ["Team A"]},
}


@pytest.mark.parametrize("why", REFUSED)
def test_refuses(tmp_path, why):
    flags = [
        f"--set-json={name}={json.dumps(value)}" for name, value in REFUSED[why].items()
    ]
    said = chart.template(tmp_path, *flags, code=1)
    assert "values don't meet the specifications of the schema" in said.stderr


def test_many_hosts_are_accepted_with_what_they_share(tmp_path):
    found = chart.render(tmp_path, **FLEET, **{"host.replicas": 2})
    assert chart.one(found, "StatefulSet")["spec"]["replicas"] == 2


def settings(found):
    return tomllib.loads(chart.one(found, "ConfigMap", "harbour-roadstead")["data"]["host.toml"])


def test_settings_are_kept_as_they_are(tmp_path):
    odd = {"a": 'quo"te', "b": [1, "two", {"c": True}], "d": 1.5, "e": 8_000_000_000, "f": "<&>"}
    set_by_chart = settings(chart.render(tmp_path))
    found = settings(chart.render(tmp_path, **{"host.settings": {"top": 7, "table": odd}}))
    assert found == set_by_chart | {"top": 7, "table": odd}


def test_hosts_of_a_pool_know_each_other_by_their_pods(tmp_path):
    some = FLEET | {"host.replicas": 2}
    found = chart.render(tmp_path, **some)
    hosts = chart.one(found, "StatefulSet")["spec"]["serviceName"]
    chart.one(found, "Service", hosts)
    name = "harbour-roadstead"
    addresses = {
        f"{name}-{at}": f"http://{name}-{at}.{hosts}.{chart.NAMESPACE}.svc:7411" for at in (0, 1)
    }
    assert settings(found)["pool"]["peers"] == addresses
    scaled = some | {"autoscaling.enabled": True, "autoscaling.maxReplicas": 7}
    assert len(settings(chart.render(tmp_path, **scaled))["pool"]["peers"]) == 7
    # One alone has nobody to call, so its callers may be asked who they are in plain text.
    alone = settings(chart.render(tmp_path, **SHARED, **{"auth.policy.secret": "policy"}))
    assert "peers" not in alone["pool"]


def test_the_controller_is_told_what_native_modules_may_be(tmp_path):
    found = chart.render(tmp_path, "native")
    name = "harbour-roadstead-controller"
    rules = json.loads(chart.one(found, "ConfigMap", f"{name}-native")["data"]["native.json"])
    policy = chart.one(found, "NetworkPolicy", "harbour-roadstead")["spec"]
    assert rules["hosts"] == {
        "namespace": chart.NAMESPACE,
        "labels": policy["podSelector"]["matchLabels"],
    }
    assert rules["allow"]["images"] == ["registry.example.com/team/*"]
    assert rules["state"] == {"size": "20Gi", "storageClass": "fast"}
    pod = chart.one(found, "Deployment", name)["spec"]["template"]
    assert "--native=/etc/roadstead/native/native.json" in pod["spec"]["containers"][0]["args"]
    # It is read once, so other rules begin another controller.
    other = chart.render(tmp_path, "native", **{"native.allow.images": []})
    assert chart.one(other, "Deployment", name)["spec"]["template"] != pod
    assert settings(found)["native"] == {"enabled": True}
    plain = chart.render(tmp_path, "fleet")
    assert "native" not in settings(plain)
    assert not [each for each in plain if each["metadata"]["name"] == f"{name}-native"]


def test_the_example_of_native_modules_renders(tmp_path):
    example = chart.CHART / "examples/native.values.yaml"
    more = [f"--set-json={name}={json.dumps(value)}" for name, value in SHARED.items()]
    policy = "--set=auth.policy.secret=policy"
    found = chart.objects(chart.template(tmp_path, "-f", example, *more, policy).stdout)
    rules = chart.one(found, "ConfigMap", "harbour-roadstead-controller-native")
    assert json.loads(rules["data"]["native.json"])["state"] == {"size": "20Gi"}


@pytest.mark.parametrize(
    ("values", "there"),
    [
        ({}, False),
        (FLEET, True),
        (FLEET | {"controller.enabled": True}, True),
        (FLEET | {"controller.enabled": False}, False),
    ],
)
def test_a_controller_comes_with_the_clusters_catalog(tmp_path, values, there):
    found = chart.render(tmp_path, **values)
    name = "harbour-roadstead-controller"
    ours = [each for each in found if each["metadata"]["name"].startswith(name)]
    assert bool(ours) == there
    assert ("controller" in settings(found)) == there
    pod = chart.one(found, "StatefulSet")["spec"]["template"]["spec"]
    assert ("controller" in {each["name"] for each in pod["volumes"]}) == there


def test_controller_and_hosts_are_given_each_others_certificates(tmp_path):
    found = chart.render(tmp_path, **FLEET)
    name = "harbour-roadstead-controller"
    files = {}
    for who in ("tls", "hosts"):
        secret = chart.one(found, "Secret", f"{name}-{who}")
        assert secret["type"] == "kubernetes.io/tls"
        for file, content in secret["data"].items():
            files[who, file] = tmp_path / f"{who}-{file}"
            files[who, file].write_bytes(base64.b64decode(content))
    assert files["tls", "ca.crt"].read_bytes() == files["hosts", "ca.crt"].read_bytes()
    address = urllib.parse.urlsplit(settings(found)["controller"]["address"])
    for who, purpose in (("tls", "sslserver"), ("hosts", "sslclient")):
        verify = ["openssl", "verify", "-purpose", purpose, "-CAfile", files[who, "ca.crt"]]
        verify += ["-verify_hostname", address.hostname] if who == "tls" else []
        subprocess.run([*verify, files[who, "tls.crt"]], check=True, capture_output=True)
    service = chart.one(found, "Service", address.hostname.split(".")[0])
    assert address.port in {port["port"] for port in service["spec"]["ports"]}
    mounted = chart.one(found, "StatefulSet")["spec"]["template"]["spec"]["volumes"]
    secrets = {each["name"]: each["secret"]["secretName"] for each in mounted if "secret" in each}
    assert secrets == {"controller": f"{name}-hosts", "pool": "harbour-roadstead-pool"}
    pod = chart.one(found, "Deployment")["spec"]["template"]["spec"]
    assert [each["secret"]["secretName"] for each in pod["volumes"]] == [f"{name}-tls"]
    named = FLEET | {"controller.tls.secret": "own", "controller.tls.hosts": "theirs"}
    assert not [
        each
        for each in chart.render(tmp_path, **named, **{"pool.secret": "pool"})
        if each["kind"] == "Secret"
    ]


def test_one_controller_alone_has_no_disruption_budget(tmp_path):
    def budgets(**values):
        found = chart.render(tmp_path, **FLEET, **values)
        return [each for each in found if each["kind"] == "PodDisruptionBudget"]

    assert len(budgets()) == 1
    assert len(budgets(**{"controller.replicas": 2})) == 2


def test_the_host_accepts_its_settings(tmp_path):
    case = {"host.settings": {"guest_threads": 1, "memory_budget": "512Mi"}}
    found = chart.render(tmp_path, **case, **{"auth.insecureNoAuth": True})
    file = tmp_path / "host.toml"
    file.write_text(chart.one(found, "ConfigMap", "harbour-roadstead")["data"]["host.toml"])
    host = harness.Host(tmp_path / "data", "--config", file, "--metrics", "127.0.0.1:0").start()
    assert host.stop() == 0, host.log()


def test_the_controller_accepts_its_flags(tmp_path):
    pod = chart.one(chart.render(tmp_path, **FLEET), "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    program = harness.BIN.with_name(container["command"][0].rpartition("/")[2])
    flags = [*container["args"], f"--kubeconfig={tmp_path}/absent"]
    done = subprocess.run([program, *flags], capture_output=True, text=True, check=False)
    # 2 would say that the flags are wrong; the files are not here.
    assert done.returncode == 1, done.stderr
    assert "absent" in done.stderr or "/etc/roadstead/tls" in done.stderr


def test_without_a_word_on_authentication_the_host_refuses(tmp_path):
    file = tmp_path / "host.toml"
    found = chart.render(tmp_path)
    file.write_text(chart.one(found, "ConfigMap", "harbour-roadstead")["data"]["host.toml"])
    said = harness.roadstead("serve", "--config", file, code=2)
    assert "nobody would be asked who they are" in said.stderr


def test_changed_settings_replace_pods(tmp_path):
    def annotations(**values):
        pod = chart.one(chart.render(tmp_path, **values), "StatefulSet")["spec"]["template"]
        return pod["metadata"]["annotations"]

    assert annotations() != annotations(**{"host.settings": {"guest_threads": 1}})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Names of the metrics that a host exports, a called module's included."""
    folder = tmp_path_factory.mktemp("metrics")
    host = harness.Host(folder / "data", "--metrics", "127.0.0.1:0").start()
    address = re.search(r"metrics on (http://\S+/metrics)", host.log())[1]
    text = urllib.request.urlopen(address).read().decode()
    assert host.stop() == 0
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    return {f"{name}_total" if kind == "counter" else name for name, kind in kinds.items()}


def names(text):
    return set(re.findall(r"\broadstead_\w+", text))


def test_the_dashboard_shows_what_is_exported(exported):
    dashboard = json.loads((chart.CHART / "dashboards/roadstead.json").read_text())
    for panel in dashboard["panels"]:
        shown = names(" ".join(target["expr"] for target in panel.get("targets", [])))
        assert shown <= exported, panel["title"]
        assert shown or panel["type"] == "row", panel["title"]


def test_alerts_and_scaling_ask_for_what_is_exported(tmp_path, exported):
    rules = chart.one(chart.render(tmp_path, "single"), "PrometheusRule")
    alerts = rules["spec"]["groups"][0]["rules"]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        assert names(alert["expr"]) <= exported, alert["alert"]
        assert names(alert["expr"]), alert["alert"]
    scaler = chart.one(chart.render(tmp_path, "fleet"), "HorizontalPodAutoscaler")
    assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] in exported


def test_every_expression_is_promql(tmp_path):
    dashboard = json.loads((chart.CHART / "dashboards/roadstead.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    # What Grafana fills in.
    shown = [expression.replace("$__rate_interval", "1m") for expression in shown]
    rules = chart.one(chart.render(tmp_path, "single"), "PrometheusRule")
    alerts = [alert["expr"] for alert in rules["spec"]["groups"][0]["rules"]]
    done = subprocess.run(
        [BIN / "promql"],
        input="\n".join(shown + alerts),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
