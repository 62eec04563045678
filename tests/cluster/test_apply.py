"""The chart against a real API server: what it accepts, and what a release leaves behind."""

import json
import shutil

import chart
import pytest
from control_plane import BIN
from processes import until

DEFINITIONS = BIN.parent / "definitions"


@pytest.fixture(scope="module")
def namespaces(control_plane):
    for name in (chart.NAMESPACE, "team-a", "team-b"):
        if not control_plane.asks("get", "namespace", name):
            control_plane.kubectl("create", "namespace", name)
    # What does not keep to the profile is refused there.
    level = "pod-security.kubernetes.io/enforce=restricted"
    control_plane.kubectl("label", "namespace", chart.NAMESPACE, level)
    control_plane.kubectl("create", "-f", DEFINITIONS)
    monitors = ("get", "servicemonitors,prometheusrules")
    until("the Prometheus operator's kinds", lambda: control_plane.asks(*monitors))


def apply(control_plane, found, *flags):
    text = "\n---\n".join(json.dumps(each) for each in found)
    return control_plane.kubectl("apply", "--server-side", *flags, "-f", "-", stdin=text)


@pytest.mark.parametrize("case", chart.CASES)
def test_the_api_server_accepts_it(control_plane, namespaces, tmp_path, case):
    found = chart.render(tmp_path, case)
    said = apply(control_plane, found, "--dry-run=server", "--validate=strict")
    assert said.stdout.count("serverside-applied (server dry run)") == len(found)
    said = apply(control_plane, [each for each in found if not ours(each)], "--dry-run=server")
    assert "Warning" not in said.stderr


@pytest.mark.parametrize("case", chart.CASES)
def test_pods_keep_to_the_restricted_profile(control_plane, namespaces, tmp_path, case):
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(PRIORITY))
    found = chart.objects(chart.template(tmp_path, "-f", chart.values_of(case)).stdout)
    accounts = [each for each in found if each["kind"] == "ServiceAccount"]
    apply(control_plane, accounts)
    pods = [each for each in found if each["kind"] == "Pod"]
    for owner in found:
        if owner["kind"] in ("StatefulSet", "Deployment"):
            pods.append(pod_of(owner))
    assert len(pods) >= 2
    apply(control_plane, pods, "--dry-run=server")


PRIORITY = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "critical-pods", "namespace": chart.NAMESPACE},
    "spec": {
        "hard": {"pods": "10"},
        "scopeSelector": {
            "matchExpressions": [
                {
                    "operator": "In",
                    "scopeName": "PriorityClass",
                    "values": ["system-cluster-critical"],
                }
            ]
        },
    },
}


def pod_of(owner):
    """The pod that a StatefulSet or a Deployment would make."""
    template = owner["spec"]["template"]
    names = [claim["metadata"]["name"] for claim in owner["spec"].get("volumeClaimTemplates", [])]
    claims = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in names]
    spec = dict(template["spec"], volumes=template["spec"].get("volumes", []) + claims)
    metadata = {"name": owner["metadata"]["name"], "namespace": chart.NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_release_comes_changes_and_goes(control_plane):
    space = "comes-and-goes"
    helm = BIN / "helm"
    where = ("-n", space)
    flags = ("--set", "auth.insecureNoAuth=true")
    control_plane.run(
        *(helm, "install", "quay", chart.CHART, *where, "--create-namespace", *flags)
    )
    assert definitions(control_plane) == shipped()
    first = control_plane.get(*where, "statefulset", "quay-roadstead")
    control_plane.run(
        *(helm, "upgrade", "quay", chart.CHART, *where, *flags),
        *("--set", "host.settings.guest_threads=1"),
    )
    second = control_plane.get(*where, "statefulset", "quay-roadstead")
    assert second["metadata"]["generation"] > first["metadata"]["generation"]
    control_plane.run(helm, "uninstall", "quay", *where)
    kinds = "all,configmap,serviceaccount,role,rolebinding,networkpolicy,poddisruptionbudget,lease"
    left = control_plane.get(*where, kinds)["items"]
    own = [each for each in left if "quay" in json.dumps(each["metadata"])]
    assert own == []
    assert definitions(control_plane) == shipped(), "modules go with their definitions"
    # A release of the same name finds them again.
    control_plane.run(helm, "install", "quay", chart.CHART, *where, *flags)
    control_plane.run(helm, "uninstall", "quay", *where)


def test_an_upgrade_keeps_the_secrets_that_the_chart_made(control_plane):
    space, helm = "kept-secrets", BIN / "helm"
    flags = ("-n", space, "-f", chart.values_of("shared"), "--set", "crds.install=false")
    control_plane.run(helm, "install", "quay", chart.CHART, *flags, "--create-namespace")

    def made():
        found = control_plane.get("-n", space, "secrets")["items"]
        names = ("quay-roadstead-pool", *(f"quay-roadstead-controller-{end}" for end in ENDS))
        return {
            each["metadata"]["name"]: each["data"]
            for each in found
            if each["metadata"]["name"] in names
        }

    first = made()
    assert len(first) == 3
    control_plane.run(helm, "upgrade", "quay", chart.CHART, *flags, "--set", "host.replicas=4")
    assert made() == first
    # Where one of a pair is gone, both are made anew, by one authority.
    control_plane.kubectl("-n", space, "delete", "secret", "quay-roadstead-controller-hosts")
    control_plane.run(helm, "upgrade", "quay", chart.CHART, *flags)
    own, hosts = (made()[f"quay-roadstead-controller-{end}"] for end in ENDS)
    assert own["ca.crt"] == hosts["ca.crt"] != first["quay-roadstead-controller-tls"]["ca.crt"]
    assert made()["quay-roadstead-pool"] == first["quay-roadstead-pool"]
    control_plane.run(helm, "uninstall", "quay", "-n", space)


ENDS = ("tls", "hosts")


def test_an_upgrade_brings_changed_definitions(control_plane, tmp_path):
    space, helm = "upgraded", BIN / "helm"
    where = ("-n", space, "--set", "auth.insecureNoAuth=true", "--take-ownership")
    old = older_chart(tmp_path)
    control_plane.run(helm, "install", "quay", old, *where, "--create-namespace")
    assert "spec.tests/added" in annotations(control_plane)
    control_plane.run(helm, "upgrade", "quay", chart.CHART, *where)
    assert "spec.tests/added" not in annotations(control_plane)
    control_plane.run(helm, "uninstall", "quay", "-n", space)


def older_chart(folder):
    """This chart with definitions that differ in an annotation."""
    old = folder / "chart"
    shutil.copytree(chart.CHART, old)
    for path in (old / "files/crds").glob("*.yaml"):
        text = path.read_text()
        assert "\nmetadata:\n" in text
        path.write_text(text.replace("\nmetadata:\n", "\nmetadata:\n  labels: {spec.tests/added: x}\n"))
    return old


def annotations(control_plane):
    found = control_plane.get("customresourcedefinition")["items"]
    return json.dumps([each["metadata"].get("labels", {}) for each in found if ours(each)])


def ours(found):
    """Whether it is a definition of this project's."""
    return found["metadata"]["name"].endswith(".roadstead.dev")


def definitions(control_plane):
    found = control_plane.get("customresourcedefinition")["items"]
    return {each["metadata"]["name"] for each in found if ours(each)}


def shipped():
    files = (chart.ROOT / "k8s/crds").glob("*.yaml")
    found = [each for path in files for each in chart.objects(path.read_text())]
    return {each["metadata"]["name"] for each in found}
