"""Native modules as pods of a real node: pushed, applied, called, idle, killed, deleted.

Needs root and Linux, and the programs of `tools.sh node`.
"""

import json
import signal

import chart
import harness
import pytest
import yaml
from native import COUNTER, LABEL, PROBE, TEAM, Natives, calling, example
from node import NAME
from processes import PATIENCE, until
from release import uninstall

FIRST = "linalg-0.1.0"
DESCRIBE = "demo.linalg.linalg.v0_1.Linalg/Describe"
NUMBERS = {"values": [1, 2, 3, 6]}
STATE = "/var/lib/roadstead/state"
VARIABLES = {
    *("HOME", "HOSTNAME", "NEW", "PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"),
    *("ROADSTEAD_CALL_KEY", "ROADSTEAD_GRACE", "ROADSTEAD_LISTEN", "ROADSTEAD_STATE"),
    *("ROADSTEAD_TLS_CA", "ROADSTEAD_TLS_CERT", "ROADSTEAD_TLS_KEY"),
}


@pytest.fixture(scope="module")
def natives(node):
    made = Natives(node)
    yield made
    uninstall(node)


def mean(natives):
    return natives.call(DESCRIBE, NUMBERS)["value"]["mean"]


def remove(natives, module):
    """Deletes a module, and waits until nothing of it is left, and nothing of it runs."""
    natives.cli("delete", module)
    until(f"the end of {module}", lambda: not natives.owned(module))
    until("the end of its processes", lambda: not natives.processes(f"/app/{module}.py"))


@pytest.fixture
def spare(natives):
    """Whatever linalg a test pushes goes with it."""
    yield natives
    remove(natives, "linalg")


@pytest.fixture
def linalg(spare):
    """The chart's example, made small, with one server that stays."""
    spare.push(example(replicas=1, idle=None))
    spare.becomes(FIRST, "Ready", "1 of 1")
    return spare


def test_what_no_node_has_room_for_says_so(spare):
    spare.push(example(resources={"cpu": 500, "memory": "1Gi"}))
    said = spare.becomes(FIRST, "BackingOff", "Insufficient cpu")
    assert "it has no node" in said
    until(
        "its description says so",
        lambda: "Insufficient cpu" in spare.cli("describe", "linalg").stdout,
    )


def test_an_image_that_is_not_allowed_says_what_to_set(spare):
    spare.push(example(image="registry.example.com/team-b/linalg:1"))
    said = spare.becomes(FIRST, "ImageNotAllowed", "registry.example.com/team-b/linalg:1")
    assert "native.allow.images" in said
    assert spare.owned("linalg") == []
    assert "ImageNotAllowed" in spare.call(DESCRIBE, NUMBERS, code=1)
    assert "native.allow.images" in spare.cli("describe", "linalg").stdout


def test_it_answers_as_a_component_does(linalg):
    assert mean(linalg) == 3
    described = json.loads(linalg.cli("--json", "describe", "linalg").stdout)
    (version,) = described["versions"]
    assert version["isolation"] == "container"
    assert version["native"]["state"] == "ready"


def test_its_pod_has_no_rights(linalg):
    (process,) = linalg.processes("/app/linalg.py")
    with open(f"/proc/{process}/status") as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    assert fields["Uid"].split() == ["65532"] * 4
    assert fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2"
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    (pod,) = linalg.get("pods")["items"]
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["identity", "tmp"]


def test_a_killed_server_is_begun_again(linalg):
    assert mean(linalg) == 3
    linalg.kill("/app/linalg.py")
    assert mean(linalg) == 3
    (pod,) = linalg.get("pods")["items"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1


def test_a_deleted_pod_is_replaced(linalg):
    before = linalg.pods("linalg")
    linalg.plane.kubectl("delete", "-n", TEAM, *before, "--force", "--grace-period=0")
    assert mean(linalg) == 3
    assert not set(before) & set(linalg.pods("linalg"))


def test_what_others_change_is_put_back(linalg):
    (policy,) = linalg.owned("linalg", "networkpolicies")
    open_to_all = json.dumps([{"op": "replace", "path": "/spec/ingress", "value": [{}]}])
    linalg.plane.kubectl("patch", "-n", TEAM, policy, "--type=json", "-p", open_to_all)

    def is_closed():
        rules = linalg.get(policy)["spec"]["ingress"]
        return rules[0].get("from") is not None

    until("the policy as it was", is_closed)
    linalg.plane.kubectl("delete", "-n", TEAM, *linalg.owned("linalg", "services,deployments"))
    until("its objects", lambda: len(linalg.owned("linalg", "services,deployments")) == 2)
    assert mean(linalg) == 3


def test_a_new_version_takes_over_and_a_bad_one_does_not(linalg):
    linalg.push(example(replicas=1, idle=None, env={"OPENBLAS_NUM_THREADS": "2"}))
    linalg.becomes("linalg-0.1.1", "Ready", "1 of 1")
    until("the old one's end", lambda: len(linalg.pods("linalg")) == 1)
    assert mean(linalg) == 3


def test_objects_that_are_applied_are_a_module_too(linalg):
    """What the cluster keeps of a push makes the same module again where its code is known."""
    kinds = ("nativemodule", "nativemoduleversion")
    kept = [bare(linalg.get(kind, name)) for kind, name in zip(kinds, ("linalg", FIRST))]
    remove(linalg, "linalg")
    linalg.apply(*kept)
    linalg.becomes(FIRST, "Ready", "1 of 1")
    assert mean(linalg) == 3


def bare(found):
    """An object as somebody would write it."""
    metadata = {name: found["metadata"][name] for name in ("name", "namespace")}
    for name in ("labels", "annotations"):
        if found["metadata"].get(name):
            metadata[name] = found["metadata"][name]
    kept = {name: found[name] for name in ("apiVersion", "kind", "spec")}
    return kept | {"metadata": metadata}


def test_a_server_that_breaks_its_contract_is_never_called(spare):
    """The image is of another module."""
    spare.push(example(image=COUNTER, replicas=1, idle=None, stateful=True))
    said = spare.becomes(FIRST, "ContractMismatch")
    assert "linalg" in said.lower()
    assert "ContractMismatch" in spare.call(DESCRIBE, NUMBERS, code=1)


def test_a_server_that_fails_at_its_start_says_so(spare):
    """The image has state, and the spec gives it no place for that."""
    spare.push(example(image=COUNTER, replicas=1, idle=None))
    spare.becomes(FIRST, "BackingOff", "it ended with")


def test_a_component_is_bound_to_it(linalg):
    """Wasm in the host, numpy in a pod."""
    spec = harness.MODULES / "regression.yaml"
    linalg.cli("push", harness.module("regression"), "--spec", spec)
    points = [{"x": x, "y": 2 * x + 1} for x in (0, 1, 2, 3)]
    line = "demo.regression.regression.v0_1.Regression/Line"
    found = linalg.call(line, {"points": points})["ok"]
    assert [round(each, 6) for each in found["coefficients"]] == [1, 2]
    linalg.cli("delete", "regression")


def test_who_is_called_by_nobody_ends_and_a_call_begins_it(spare):
    idle(spare)
    assert spare.owned("linalg", "deployments")
    assert mean(spare) == 3
    idle(spare)


def test_a_call_finds_servers_though_the_controller_is_killed(spare):
    """It waits for one, and the next controller hears of it."""
    idle(spare)
    spare.kill("/usr/bin/roadstead-controller")
    assert mean(spare) == 3


def idle(natives):
    """Pushes what soon is idle, where it is not there, and waits until it is."""
    if natives.condition(FIRST) == ("", "", ""):
        natives.push(example(replicas=2, idle="5s"))
    natives.becomes(FIRST, "Idle")
    until("no pod", lambda: not natives.pods("linalg"))


def counting(**native):
    """A module whose state is a number."""
    small = {"resources": {"cpu": "100m", "memory": "256Mi"}, "grace": "10s"}
    waits = {"activation_timeout": f"{PATIENCE}s"}
    return {
        "name": "counter",
        "wit": str(chart.ROOT / PROBE / "wit"),
        "limits": {"deadline": f"{PATIENCE}s"},
        "native": {"image": COUNTER, "stateful": True} | small | waits | native,
    }


@pytest.fixture(scope="module")
def counter(natives):
    natives.push(counting())
    natives.becomes("counter-0.1.0", "Ready", "1 of 1")
    return natives


def step(counter):
    return int(counter.call("demo.probe.probe.v0_1.Probe/Step", {})["value"])


def look(counter, what):
    """What the server sees; or, where the call fails, why."""
    said = counter.cli(*calling("demo.probe.probe.v0_1.Probe/Look", {"what": what}), code=None)
    return json.loads(said.stdout)["value"] if said.returncode == 0 else said.stderr


def epoch(counter):
    return int(look(counter, f"read:{STATE}/epoch"))


def test_state_outlives_pods_and_processes(counter):
    assert [step(counter) for _ in range(3)] == [1, 2, 3]
    epochs = [epoch(counter)]
    counter.plane.kubectl("delete", "-n", TEAM, *counter.pods("counter"))
    assert step(counter) == 4
    epochs.append(epoch(counter))
    force = ("--force", "--grace-period=0")
    counter.plane.kubectl("delete", "-n", TEAM, *counter.pods("counter"), *force)
    assert step(counter) == 5
    epochs.append(epoch(counter))
    counter.kill("/app/counter.py")
    # A call that meets the end may have run.
    until("an answer", lambda: "INTERRUPTED" not in look(counter, "env:HOME"))
    assert step(counter) == 6
    epochs.append(epoch(counter))
    assert epochs == sorted(set(epochs)), epochs


def test_state_outlives_a_controller_that_dies_meanwhile(counter):
    last, before = step(counter), epoch(counter)
    pods = counter.pods("counter")
    counter.kill("/usr/bin/roadstead-controller")
    counter.plane.kubectl("delete", "-n", TEAM, *pods)
    counter.kill("/usr/bin/roadstead-controller")
    assert step(counter) == last + 1
    assert epoch(counter) > before


def test_a_new_version_has_the_state_of_the_old(counter):
    last, before = step(counter), epoch(counter)
    counter.push(counting(env={"NEW": "1"}))
    counter.becomes("counter-0.1.1", "Ready", "1 of 1")
    until("the new one answers", lambda: look(counter, "env:NEW") == "1")
    assert step(counter) == last + 1
    assert epoch(counter) > before
    assert counter.condition("counter-0.1.0")[1] == "Superseded"


def test_a_server_sees_what_it_was_given_and_no_more(counter):
    assert look(counter, "write:/app/counter.py") == "error 30"
    assert look(counter, "list:/var/run/secrets") == "error 2"
    assert look(counter, "write:/tmp/note") == "written"
    assert look(counter, "processes").split()[0] == "1"
    variables = look(counter, "variables").split()
    # Where the API server is, Kubernetes tells every container.
    own = {name for name in variables if not name.startswith("KUBERNETES_")}
    assert own == VARIABLES


def test_a_stopped_server_loses_its_pod(counter):
    """Its port is open and nobody answers there: hosts say so, and the state goes on elsewhere."""
    last, pods = step(counter), counter.pods("counter")
    before = uid(counter, pods)
    counter.signal("/app/counter.py", signal.SIGSTOP)
    until("another pod", lambda: uid(counter, pods) not in (before, None))
    until("an answer", lambda: look(counter, "env:NEW") == "1")
    assert step(counter) == last + 1


def test_a_server_that_gets_nowhere_loses_its_pod(counter):
    """It answers questions; a call of it makes no progress."""
    counter.push(counting(probes={"progress": "3s", "period": "1s"}, concurrent=["fail"]))
    counter.becomes("counter-0.1.2", "Ready", "1 of 1")
    last, pods = step(counter), counter.pods("counter")
    before = uid(counter, pods)
    hangs = counter.begin(*calling("demo.probe.probe.v0_1.Probe/Fail", {"how": "hang"}))
    said, _ = hangs.communicate(timeout=PATIENCE)
    assert "INTERRUPTED" in said, said
    until("another pod", lambda: uid(counter, pods) not in (before, None))
    assert step(counter) == last + 1


def test_calls_have_all_of_the_grace_that_the_spec_gives(counter):
    """A server is told to end as soon as its pod is deleted."""
    version = counting(grace="60s", concurrent=["wait", "look"])
    said = counter.push(version).stdout
    counter.becomes(said.split()[1].replace("@", "-"), "Ready", "1 of 1")
    until("the new one answers", lambda: look(counter, "waiting") == "0")
    waits = counter.begin(*calling("demo.probe.probe.v0_1.Probe/Wait", {"millis": 30_000}))
    until("it runs", lambda: look(counter, "waiting") == "1")
    pods = ("delete", "-n", TEAM, "--wait=false", *counter.pods("counter"))
    counter.plane.kubectl(*pods)
    said, _ = waits.communicate(timeout=PATIENCE)
    assert '"value": 1' in said, said


def uid(natives, pods):
    """Tells a pod from another of the same name."""
    (name,) = pods
    found = natives.plane.kubectl("get", "-n", TEAM, name, "-o", "json", code=None).stdout
    return json.loads(found)["metadata"]["uid"] if found else None


def test_a_deleted_module_leaves_no_state(counter):
    assert counter.owned("counter", "pvc")
    remove(counter, "counter")
    assert counter.call("demo.probe.probe.v0_1.Probe/Step", {}, code=1)


def test_the_example_of_an_actor_waits_for_tpus_and_keeps_its_state(natives):
    """Its image is another, which needs no TPU."""
    actor = yaml.safe_load((chart.CHART / "examples/learner.yaml").read_text())
    actor |= {"name": "learner", "wit": str(chart.ROOT / PROBE / "wit")}
    actor["native"] |= {"image": COUNTER}
    asked = actor["native"]["resources"]
    actor["native"]["resources"] = asked | {"cpu": "100m", "memory": "256Mi"}
    natives.push(actor)
    said = natives.becomes("learner-0.1.0", "BackingOff", "it has no node")
    assert "node" in said
    with_tpus(natives.plane)
    natives.becomes("learner-0.1.0", "Ready", "1 of 1")
    (pod,) = natives.get("pods", "-l", f"{LABEL}=learner")["items"]
    (server,) = pod["spec"]["containers"]
    assert server["resources"]["limits"]["google.com/tpu"] == "4"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 70
    step = calling("demo.probe.probe.v0_1.Probe/Step", {})
    counts = [json.loads(natives.cli(*step, "--module", "learner").stdout) for _ in range(2)]
    natives.plane.kubectl("delete", "-n", TEAM, *natives.pods("learner"))
    counts.append(json.loads(natives.cli(*step, "--module", "learner").stdout))
    assert [int(each["value"]) for each in counts] == [1, 2, 3]
    remove(natives, "learner")


def with_tpus(plane):
    """Says of the node what GKE says of one with a slice."""
    labels = ("tpu-accelerator=tpu-v5-lite-podslice", "tpu-topology=2x2")
    plane.kubectl("label", "node", NAME, *(f"cloud.google.com/gke-{one}" for one in labels))
    has = {kind: {"google.com/tpu": "4"} for kind in ("capacity", "allocatable")}
    patch = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": has}))
    plane.kubectl("patch", "node", NAME, *patch)
