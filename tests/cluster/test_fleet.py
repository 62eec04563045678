"""Three hosts, one catalog, shared blobs: what they do while parts of it are gone.

Needs root and Linux, and the programs of `tools.sh node`.
"""

import copy
import json
import os
import signal

import chart
import harness
import pytest
from control_plane import BIN
from fleet import FAKETIME, Fleet
from harness import until
from tide import HEIGHT, REQUEST, Tide

SERIES = "demo.running_stats.stats.v0_1.StatsSeries"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.exit("the fleet's tests need root: its networks are real")
    for program in (BIN / "coredns", FAKETIME):
        if not program.exists():
            pytest.exit(f"{program} is missing: run tests/cluster/tools.sh node")
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        made.add("a", "b", "c")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def tide(fleet, tmp_path_factory):
    made = Tide(fleet, tmp_path_factory.mktemp("tide"))
    made.push(fleet.hosts["a"])
    made.everywhere()
    return made


@pytest.fixture
def hosts(fleet):
    return [fleet.hosts[name] for name in "abc"]


@pytest.fixture
def callers(fleet, tide):
    """Two clients that call all hosts all the while; no call of theirs may fail."""
    clients = [fleet.call(HEIGHT, REQUEST) for _ in range(2)]

    def answered(more=40):
        for client in clients:
            told = client.until(more)
            failures = [failure for each in told for failure in each["failures"]]
            assert not failures, failures[:3]

    answered()
    yield answered
    answered()
    for client in clients:
        client.stop()


def test_what_one_publishes_all_serve(fleet, tide, hosts):
    for host in hosts:
        tide.push(host)
        tide.everywhere()
    fleet.cli(hosts[0], "pin", "tide@0.1.0")
    for host in hosts:
        until(lambda host=host: tide.answering(host) == "0.1.0", f"{host.name} hears of the pin")
    fleet.cli(hosts[1], "unpin", "tide")
    tide.everywhere()
    assert len({json.dumps(tide.digests(host)) for host in hosts}) == 1


def test_a_host_without_the_api_server_serves_on_and_catches_up(tide, hosts, callers):
    cut, other, third = hosts
    before = tide.newest
    cut.place.pull("api")
    tide.push(other)
    until(lambda: tide.serves(third), "the others go on")
    callers()
    assert tide.answering(cut) == before
    assert "CATALOG_UNAVAILABLE" in tide.refused(cut)
    cut.place.plug("api")
    tide.everywhere()
    tide.push(cut)
    tide.everywhere()


def test_a_host_starts_without_the_api_server(tide, hosts):
    cut, other, _ = hosts
    before = tide.newest
    # What it knows is on its disk a moment after it knows it.
    until(lambda: before in (cut.data_dir / "catalog.json").read_text(), "the state is kept")
    cut.place.pull("api")
    cut.kill()
    tide.push(other)
    cut.start()
    assert tide.answering(cut) == before
    cut.place.plug("api")
    tide.everywhere()


def test_the_api_server_stops_and_comes_back(fleet, tide, hosts, callers):
    fleet.plane.end("kube-apiserver")
    for host in hosts:
        assert "CATALOG_UNAVAILABLE" in tide.refused(host)
        assert tide.serves(host)
    callers()
    fleet.plane.again("kube-apiserver")
    tide.push(hosts[2])
    tide.everywhere()


def test_etcd_is_killed_and_comes_back(fleet, tide, hosts, callers):
    fleet.plane.end("etcd", signal.SIGKILL)
    callers()
    assert "CATALOG_UNAVAILABLE" in tide.refused(hosts[0])
    fleet.plane.again("etcd")
    tide.push(hosts[1])
    tide.everywhere()


def test_a_watch_that_has_expired_begins_anew(fleet, tide, hosts):
    late, other, _ = hosts
    late.place.pull("api")
    for _ in range(3):
        tide.push(other)
    fleet.compact()
    # Nor does the API server remember what etcd has forgotten.
    fleet.plane.end("kube-apiserver")
    fleet.plane.again("kube-apiserver")

    def lists():
        asked = [each for each in fleet.requests() if each["user"]["username"] == late.user]
        return sum(each["verb"] == "list" for each in asked)

    before = lists()
    late.place.plug("api")
    tide.everywhere()
    assert lists() > before
    assert tide.digests(late) == tide.digests(other)


def test_pushes_of_one_name_at_once_through_two_hosts(fleet, tide, hosts):
    def at_once(*flags):
        """Exit codes and versions."""
        push = ("--json", "push")
        begun = [
            fleet.begin(host, *push, tide.component(), "--name", "tide", *flags)
            for host in hosts[:2]
        ]
        return [(json.loads(said[0]) if each.returncode == 0 else said[1])
                for each in begun for said in [each.communicate(timeout=harness.PATIENCE)]]  # fmt: skip

    for _ in range(4):
        pushed = {each["module"]["version"]: each["module"]["digest"] for each in at_once()}
        assert len(pushed) == 2
        tide.newest = max(pushed, key=number)
        tide.everywhere()
        for host in hosts:
            assert pushed.items() <= tide.digests(host).items()
    for patch in range(3):
        version = f"0.2.{patch}"
        outcomes = at_once("--version", version)
        (won,) = [each for each in outcomes if isinstance(each, dict)]
        (lost,) = [each for each in outcomes if isinstance(each, str)]
        assert version in lost
        tide.newest = version
        tide.everywhere()
        for host in hosts:
            assert tide.digests(host)[version] == won["module"]["digest"]


def number(version):
    return [int(part) for part in version.split(".")]


def test_objects_of_older_definitions_are_served(fleet, tide, hosts):
    """What an older release wrote, under definitions that lack what came later."""
    current = [
        each
        for path in sorted((chart.ROOT / "k8s/crds").glob("*.yaml"))
        for each in chart.objects(path.read_text())
    ]
    fleet.plane.kubectl("replace", "-f", "-", stdin=dumped(older(current)))
    assert "rollout" not in fields(fleet, "modules", "spec")
    old = fleet.plane.get("-n", "default", "moduleversion", f"tide-{tide.newest}")
    tide.newest = "0.3.0"
    metadata = {"name": "tide-0.3.0", "ownerReferences": old["metadata"]["ownerReferences"]}
    spec = {name: value for name, value in old["spec"].items() if name not in LATER}
    kind = {"apiVersion": old["apiVersion"], "kind": old["kind"]}
    fleet.apply(kind | {"metadata": metadata, "spec": spec | {"version": tide.newest}})
    tide.everywhere()
    # This release would lose a part of what it writes there.
    tide.refused(hosts[0])
    assert "apply the k8s/crds of this release" in hosts[0].log()
    force = ("--server-side", "--force-conflicts")
    fleet.plane.kubectl("apply", *force, "-f", "-", stdin=dumped(current))
    assert "rollout" in fields(fleet, "modules", "spec")
    hosts[1].restart()
    assert tide.serves(hosts[1])
    tide.push(hosts[2])
    tide.everywhere()


# Fields of a version's spec that came after the others.
LATER = ("componentInstances", "publishedUnixMs")


def dumped(found):
    return "\n---\n".join(json.dumps(each) for each in found)


def older(definitions):
    definitions = copy.deepcopy(definitions)
    for each in definitions:
        schema = each["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        kind = each["spec"]["names"]["kind"]
        if kind == "Module":
            del schema["spec"]["properties"]["rollout"]
            del schema["status"]
            del each["spec"]["versions"][0]["additionalPrinterColumns"]
        if kind == "ModuleVersion":
            for name in LATER:
                del schema["spec"]["properties"][name]
    return definitions


def fields(fleet, plural, part):
    found = fleet.plane.get("customresourcedefinition", f"{plural}.roadstead.dev")
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema["properties"][part]["properties"]


def test_a_host_killed_under_load_fails_no_call_of_a_client_that_retries(fleet, tide, hosts, callers):
    hosts[1].kill()
    callers(200)
    fleet.announce()
    callers(200)
    hosts[1].start()
    fleet.announce()
    tide.everywhere()


def test_hosts_that_restart_one_by_one_fail_no_call(fleet, tide, hosts, callers):
    for host in hosts:
        assert host.stop() == 0, host.log()
        callers()
        host.start()
        assert tide.serves(host)
        # A rollout waits until clients have found a host that is back: host.minReadySeconds.
        connected = "roadstead_connections_total"
        until(lambda host=host: fleet.metric(host, connected) >= 3, "both clients are back")


def test_clocks_that_differ(fleet, tide, hosts):
    """Names and versions depend on no clock; sessions bear a minute."""
    near, far = fleet.add("d", skew=45)[0], fleet.add("e", skew=600)[0]
    for host in (near, far):
        tide.everywhere()
        tide.push(host)
    tide.everywhere()
    fleet.cli(hosts[0], "push", harness.module("running-stats"))
    for host in (near, far):
        until(lambda host=host: "running-stats" in fleet.cli(host, "list").stdout, "it is there")
    handle = json.loads(fleet.cli(hosts[0], "call", f"{SERIES}/Create").stdout)["value"]
    add = ("call", f"{SERIES}/Add", "-d", json.dumps({"self": handle, "numbers": [1]}))
    fleet.cli(hosts[1], *add)
    fleet.cli(near, *add)
    fleet.cli(far, *add, code=1)
    assert "over a minute apart" in hosts[0].log()
    assert '"ok": "3"' in fleet.cli(hosts[0], *add).stdout
    fleet.cli(hosts[0], "delete", "running-stats")
    fleet.remove("d", "e")


def test_calls_spread_over_hosts_that_come(fleet, tide, hosts, callers):
    joined = fleet.add("f", "g", "h")
    tide.everywhere()

    def spread():
        """Whether the busiest answers no more than half again of what hosts do on average."""
        everyone = [*hosts, *joined]
        name = "roadstead_module_calls_total"
        before = [fleet.metric(host, name) for host in everyone]
        callers(150)
        calls = [fleet.metric(host, name) - b for host, b in zip(everyone, before, strict=True)]
        return max(calls) <= 1.5 * sum(calls) / len(calls)

    until(spread, "calls spread over six hosts")
    fleet.remove("f", "g", "h")


def test_calls_ask_the_api_server_nothing(fleet, tide, callers):
    callers(200)
    begun = len(fleet.requests())
    callers(5000)
    asked = fleet.requests()[begun:]
    # Watches are renewed each minute, calls or not.
    others = [each for each in asked if each["verb"] != "watch"]
    assert not others, [(each["verb"], each["requestURI"]) for each in others]
