"""What each service account may do: all that is written here, and nothing else."""

import itertools
import json

import chart
import pytest

HOST, CONTROLLER = "harbour-roadstead", "harbour-roadstead-controller"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
WRITES = ("create", "update", "patch", "delete")
READS = ("get", "list", "watch")
OPTED_IN = ("team-a", "team-b")
SPACES = (chart.NAMESPACE, *OPTED_IN, "kube-system", "")
RESOURCES = (
    *("/pods", "/pods/exec", "/pods/log", "/pods/eviction", "/services", "/endpoints"),
    *("/secrets", "/configmaps", "/events", "/serviceaccounts", "/serviceaccounts/token"),
    *("/nodes", "/namespaces", "/persistentvolumeclaims"),
    *("apps/deployments", "apps/statefulsets", "batch/jobs", "events.k8s.io/events"),
    *("coordination.k8s.io/leases", "networking.k8s.io/networkpolicies"),
    *("rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings"),
    *("rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/clusterrolebindings"),
    "apiextensions.k8s.io/customresourcedefinitions",
    *("roadstead.dev/modules", "roadstead.dev/moduleversions", "roadstead.dev/wirelocks"),
    *("roadstead.dev/nativemodules", "roadstead.dev/nativemoduleversions"),
    *("roadstead.dev/nativemodules/status", "roadstead.dev/nativemoduleversions/status"),
    *("roadstead.dev/modules/status", "roadstead.dev/moduleversions/status"),
    *("roadstead.dev/wirelocks/status", "roadstead.dev/modules/finalizers"),
    *("roadstead.dev/modules/scale", "roadstead.dev/moduleversions/finalizers"),
    *("policy/poddisruptionbudgets", "autoscaling/horizontalpodautoscalers"),
    *("apps/statefulsets/scale", "/pods/portforward", "/nodes/proxy", "/persistentvolumes"),
    "admissionregistration.k8s.io/validatingwebhookconfigurations",
)
KINDS = ("roadstead.dev/modules", "roadstead.dev/moduleversions", "roadstead.dev/wirelocks")
STATUS = ("roadstead.dev/modules/status", "roadstead.dev/moduleversions/status")
NATIVE = ("roadstead.dev/nativemodules", "roadstead.dev/nativemoduleversions")
NATIVE_STATUS = tuple(f"{kind}/status" for kind in NATIVE)
LEASES = "coordination.k8s.io/leases"


def product(accounts, spaces, resources, verbs):
    return set(itertools.product(accounts, spaces, resources, verbs))


ALLOWED = (
    product([HOST], OPTED_IN, KINDS, READS + WRITES)
    | product([HOST], [chart.NAMESPACE], [LEASES], ("get", "create", "update", "delete"))
    | product([HOST], OPTED_IN, NATIVE, READS)
    | product([CONTROLLER], OPTED_IN, KINDS + NATIVE, READS)
    | product([CONTROLLER], OPTED_IN, STATUS + NATIVE_STATUS, ("get", "update", "patch"))
    | product([CONTROLLER], OPTED_IN, ["roadstead.dev/moduleversions", NATIVE[1]], ["patch"])
    | product([CONTROLLER], (*OPTED_IN, chart.NAMESPACE), ["events.k8s.io/events"], ("create", "patch"))
    | product([CONTROLLER], [chart.NAMESPACE], [LEASES], ["create"])
)


# What they may do besides where native modules are enabled.
SERVERS = ("apps/deployments", "apps/statefulsets", "/services", "networking.k8s.io/networkpolicies")
ALLOWED_NATIVE = (
    product([HOST], OPTED_IN, NATIVE, WRITES)
    | product([CONTROLLER], OPTED_IN, SERVERS, (*READS, "create", "patch", "delete"))
    | product([CONTROLLER], OPTED_IN, ["/persistentvolumeclaims"], (*READS, "create", "patch"))
    | product([CONTROLLER], OPTED_IN, ["/pods"], (*READS, "delete"))
    | product([CONTROLLER], OPTED_IN, ["/secrets"], ("get", "create", "patch"))
    | product([CONTROLLER], [chart.NAMESPACE], ["/secrets"], ["create"])
)


@pytest.fixture(scope="module")
def granted(control_plane, tmp_path_factory):
    """The rights of the fleet, given as a release would."""
    for name in (chart.NAMESPACE, *OPTED_IN):
        if not control_plane.asks("get", "namespace", name):
            control_plane.kubectl("create", "namespace", name)
    grant(control_plane, tmp_path_factory.mktemp("rbac"), "fleet")
    return control_plane


def grant(control_plane, folder, case):
    kinds = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    rights = [each for each in chart.render(folder, case) if each["kind"] in kinds]
    text = "\n---\n".join(json.dumps(each) for each in rights)
    control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=text)


def ask(control_plane, questions):
    """Which of the questions (account, namespace, resource, verb, name) are answered with yes."""

    def review(account, space, resource, verb, name=""):
        group, _, rest = resource.partition("/")
        resource, _, part = rest.partition("/")
        attributes = {"namespace": space, "group": group, "resource": resource, "verb": verb}
        attributes |= {"subresource": part, "name": name}
        prefix = "system:serviceaccounts"
        spec = {
            "user": f"system:serviceaccount:{chart.NAMESPACE}:{account}",
            "groups": [prefix, f"{prefix}:{chart.NAMESPACE}", "system:authenticated"],
            "resourceAttributes": attributes,
        }
        kind = "SubjectAccessReview"
        return {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}

    questions = list(questions)
    text = "\n---\n".join(json.dumps(review(*question)) for question in questions)
    said = control_plane.kubectl("create", "-o", "json", "-f", "-", stdin=text).stdout
    decoder, answers = json.JSONDecoder(), []
    while said.strip():
        answer, end = decoder.raw_decode(said.lstrip())
        said = said.lstrip()[end:]
        answers += answer.get("items", [answer])
    assert len(answers) == len(questions)
    return {
        question
        for question, answer in zip(questions, answers, strict=True)
        if answer["status"]["allowed"]
    }


def test_every_right_is_written_down(granted):
    asked = product([HOST, CONTROLLER], SPACES, RESOURCES, VERBS)
    assert asked >= ALLOWED
    assert ask(granted, sorted(asked)) == ALLOWED


def test_native_modules_need_more_rights_and_only_where_they_are_enabled(granted, tmp_path):
    asked = sorted(product([HOST, CONTROLLER], SPACES, RESOURCES, VERBS))
    grant(granted, tmp_path, "native")
    assert ask(granted, asked) == ALLOWED | ALLOWED_NATIVE
    authority = f"{CONTROLLER}-native"
    spaces, names = [chart.NAMESPACE], [authority, "another"]
    questions = list(itertools.product([CONTROLLER, HOST], spaces, ["/secrets"], VERBS, names))
    mine = (CONTROLLER, chart.NAMESPACE, "/secrets")
    expected = {(*mine, "get", authority)} | {(*mine, "create", name) for name in names}
    assert ask(granted, questions) == expected
    grant(granted, tmp_path, "fleet")
    assert ask(granted, asked) == ALLOWED


def test_the_controller_leads_by_one_lease(granted):
    spaces, names = [chart.NAMESPACE, "team-a"], [CONTROLLER, "another"]
    questions = itertools.product([CONTROLLER], spaces, [LEASES], VERBS, names)
    mine = (CONTROLLER, chart.NAMESPACE, LEASES)
    expected = {(*mine, verb, CONTROLLER) for verb in ("get", "update", "patch")}
    expected |= {(*mine, "create", name) for name in names}
    assert ask(granted, questions) == expected


def test_a_host_without_a_catalog_has_no_rights_at_all(control_plane, tmp_path):
    found = chart.render(tmp_path, "minimal")
    assert not [each for each in found if "Role" in each["kind"]]
    pod = chart.one(found, "StatefulSet")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False


def test_tokens_reach_only_those_who_need_them(tmp_path):
    found = chart.objects(chart.template(tmp_path, "-f", chart.values_of("fleet")).stdout)
    for account in (each for each in found if each["kind"] == "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    assert chart.one(found, "Pod")["spec"]["automountServiceAccountToken"] is False
