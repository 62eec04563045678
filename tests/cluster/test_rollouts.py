"""Three hosts and two controllers: rollouts go on and end as they should, whichever controller is
killed, and two never both decide.

Needs root and Linux, and the programs of `tools.sh node`.
"""

import json
import os
import signal

import pytest
from fleet import CONTROLLER, Fleet
from harness import until
from tide import HEIGHT, REQUEST, Tide

LEASE = "harbour-roadstead-controller"
STEPS = [10, 30, 60, 100]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.exit("the fleet's tests need root: its networks are real")
    if not CONTROLLER.exists():
        pytest.exit(f"{CONTROLLER} is missing: run cargo build --workspace")
    made = Fleet(tmp_path_factory.mktemp("fleet"), controllers=2)
    try:
        made.add("a", "b", "c")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def tide(fleet, tmp_path_factory):
    """A module with a rollout whose first version answers everything."""
    made = Tide(fleet, tmp_path_factory.mktemp("tide"))
    made.push(fleet.hosts["a"])
    made.everywhere()
    plan(fleet, "--interval", "2s")
    until(lambda: shares(fleet) == {made.newest: 100}, "the controller says who answers")
    return made


@pytest.fixture
def client(fleet, tide):
    """Calls all the while, so that steps are judged; no call may fail."""
    client = fleet.call(HEIGHT, REQUEST, threads=4)
    client.until(40)
    yield client
    failures = [failure for told in client.until(40) for failure in told["failures"]]
    assert not failures, failures[:3]
    client.stop()


def plan(fleet, *flags):
    steps = ("--steps", ",".join(map(str, STEPS)), "--minimum-calls", 20)
    ratio = ("--max-failure-ratio", 0.1)
    fleet.cli(fleet.hosts["a"], "rollout", "set", "tide", *steps, *ratio, *flags)


def module(fleet):
    return fleet.plane.get("-n", "default", "module", "tide")


def shares(fleet):
    found = module(fleet).get("status", {}).get("serving", [])
    return {each["version"]: each["percent"] for each in found}


def progress(fleet):
    """How far the rollout got: its version, phase and step."""
    found = module(fleet).get("status", {}).get("rollout")
    return found and (found["to"], found["phase"], found["step"])


def leader(fleet):
    """Who holds the lease."""
    found = fleet.plane.get("-n", "default", "lease", LEASE)
    return found["spec"].get("holderIdentity")


def followed(fleet, version, at_step=lambda _: None):
    """Follows a rollout to its end: the percents that the version had, in their order."""
    had, seen = [], set()

    def ended():
        now = progress(fleet)
        if not now or now[0] != version:
            return None
        percent = shares(fleet).get(version, 0)
        if had[-1:] != [percent]:
            had.append(percent)
        if now[1] == "Progressing" and now[2] not in seen:
            seen.add(now[2])
            at_step(now[2])
        return now[1] if now[1] != "Progressing" else None

    return until(ended, f"the rollout of {version} ends"), had


def test_a_version_comes_step_by_step(fleet, tide, client):
    version = tide.push(fleet.hosts["b"])
    end, had = followed(fleet, version)
    assert end == "Completed"
    assert had == sorted(had) and set(STEPS) - set(had) <= {STEPS[-1]}, had
    tide.everywhere()


def test_the_controller_is_killed_at_every_step(fleet, tide, client):
    killed = []

    def kill(step):
        name = leader(fleet)
        killed.append(name)
        fleet.controllers.end(name, signal.SIGKILL)
        fleet.controllers.again(name)

    version = tide.push(fleet.hosts["c"])
    end, had = followed(fleet, version, kill)
    assert end == "Completed"
    assert len(killed) >= len(STEPS) - 1
    # No step was taken back or twice.
    assert had == sorted(had), had
    tide.everywhere()


def test_two_controllers_never_both_decide(fleet, tide, client):
    """One that was stopped without a word, and wakes up when another leads, writes nothing."""
    first = leader(fleet)
    process = dict(fleet.controllers.running)[first]
    process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: leader(fleet) not in (first, None, ""), "the other leads")
        second = leader(fleet)
        version = tide.push(fleet.hosts["a"])
        until(lambda: (progress(fleet) or ("",))[0] == version, "the rollout begins")
        before = len(fleet.writes(first))
    finally:
        process.send_signal(signal.SIGCONT)
    end, had = followed(fleet, version)
    assert end == "Completed" and had == sorted(had), had
    assert leader(fleet) == second
    assert len(fleet.writes(first)) == before


def test_a_version_that_fails_is_taken_back(fleet, tide, tmp_path):
    """Its calls run out of fuel at once."""
    good = tide.newest
    spec = tmp_path / "spec.yaml"
    spec.write_text("limits: {fuel_per_call: 1}\n")
    push = ("--json", "push", tide.component(), "--name", "tide", "--spec", spec)
    said = fleet.cli(fleet.hosts["a"], *push).stdout
    bad = json.loads(said)["module"]["version"]
    caller = fleet.call(HEIGHT, REQUEST)
    end, had = followed(fleet, bad)
    caller.stop()
    assert end == "RolledBack", had
    assert shares(fleet) == {good: 100}
    assert max(had) == STEPS[0]
    for host in fleet.hosts.values():
        until(lambda host=host: tide.answering(host) == good, f"{host.name} answers as before")


def test_hosts_go_on_without_any_controller(fleet, tide, client):
    before = shares(fleet)
    (answering,) = before
    names = [name for name, _ in fleet.controllers.running]
    for name in names:
        fleet.controllers.end(name)
    version = tide.push(fleet.hosts["b"])
    fleet.hosts["c"].restart()
    for host in fleet.hosts.values():
        assert tide.answering(host) == answering
        call = ("call", "acme.tide.tide.v0_1.Tide/Height", "-d", '{"hour": 1}')
        until(
            lambda host=host, call=call: (
                fleet.cli(host, *call, "--module", f"tide@{version}", code=None).returncode == 0
            ),
            f"{host.name} has the new version by its name",
        )
    assert shares(fleet) == before
    for name in names:
        fleet.controllers.again(name)
    assert followed(fleet, version)[0] == "Completed"
    tide.everywhere()
