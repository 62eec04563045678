"""The chart without a cluster: what it makes of values, and which values it refuses."""

import json
import os
import re
import subprocess
import tomllib
import urllib.request

import chart
import harness
import pytest
from control_plane import BIN


@pytest.mark.parametrize("case", chart.CASES)
def test_lints(tmp_path, case):
    said = chart.helm(tmp_path, "lint", "--strict", chart.CHART, "-f", chart.values_of(case))
    assert "0 chart(s) failed" in said.stdout


@pytest.mark.parametrize("case", chart.CASES)
def test_renders_as_written_down(tmp_path, case):
    """UPDATE_GOLDEN=1 writes it down anew."""
    rendered = chart.template(tmp_path, "-f", chart.values_of(case)).stdout
    # What stands in files of its own is not written down twice.
    kept = ("/templates/crds.yaml", "/monitoring/dashboard.yaml")
    parts = rendered.split("\n---\n")
    parts = [part for part in parts if not any(name in part for name in kept)]
    rendered = "\n---\n".join(parts)
    golden = chart.GOLDEN / f"{case}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


FLEET = {"catalog.kind": "kubernetes", "blobs.kind": "s3", "blobs.bucket": "modules"}
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
    "a pool in plain text": {"pool.secret": "pool", "auth.policy.secret": "policy"},
    "an unknown catalog": {"catalog.kind": "etcd"},
    "an unknown storage": {"storage.kind": "disk"},
    "a size that is none": {"storage.size": "much"},
    "a port that is none": {"service.port": 70000},
    "a digest that is none": {"image.digest": "sha256:1"},
    "a secret for nobody": {"secrets.key": {"secret": "a", "key": "b", "to": []}},
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
    some = FLEET | {"auth.insecureNoAuth": True, "pool.secret": "pool", "host.replicas": 2}
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


def test_the_host_accepts_its_settings(tmp_path):
    case = {"host.settings": {"guest_threads": 1, "memory_budget": "512Mi"}}
    found = chart.render(tmp_path, **case, **{"auth.insecureNoAuth": True})
    file = tmp_path / "host.toml"
    file.write_text(chart.one(found, "ConfigMap", "harbour-roadstead")["data"]["host.toml"])
    host = harness.Host(tmp_path / "data", "--config", file, "--metrics", "127.0.0.1:0").start()
    assert host.stop() == 0, host.log()


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
