"""Which module and version answers, what a push may change, and pushes that run into each other."""

import concurrent.futures
import re

import grpc
import pytest
from errors import failure
from harness import Cli, namespaced

TIDE = "acme.tide.tide.v0_1.Tide"


def answering(cli, *args, method="Height", data=None):
    """The version that answers, from the trailers that `call -v` prints."""
    done = cli.run("call", f"{TIDE}/{method}", "-d", data or '{"hour": 1}', "-v", *args)
    return re.search(r"module (\S+),", done.stderr)[1]


def test_the_newest_answers_a_pin_rolls_back(cli, components):
    cli.push(components("tide-1"), "--name", "tide")
    assert answering(cli) == "tide@0.1.0"
    cli.push(components("tide-2"), "--name", "tide")
    assert answering(cli) == "tide@0.1.1"
    assert answering(cli, "--module", "tide@0.1.0") == "tide@0.1.0"
    assert answering(cli, "--module", "tide") == "tide@0.1.1"
    cli.run("pin", "tide@0.1.0")
    assert answering(cli) == "tide@0.1.0"
    assert cli.json("describe", "tide")["pinned"] == "0.1.0"
    # A newer version does not lift the pin.
    cli.push(components("tide-2", 10), "--name", "tide")
    assert answering(cli) == "tide@0.1.0"
    assert answering(cli, "--module", "tide@0.1.2") == "tide@0.1.2"
    cli.run("unpin", "tide")
    assert answering(cli) == "tide@0.1.2"
    cli.run("pin", "tide@9.9.9", code=1)
    cli.run("pin", "absent@0.1.0", code=1)
    cli.run("pin", "tide", code=2)


def test_versions_are_immutable(cli, components):
    first = cli.json("push", components("tide-1"), "--name", "tide", "--version", "1.2.0")
    again = cli.json("push", components("tide-1"), "--name", "tide", "--version", "1.2.0")
    assert (first["created"], again.get("created", False)) == (True, False)
    assert first["module"]["digest"] == again["module"]["digest"]
    other = cli.push(
        components("tide-1", 10), "--name", "tide", "--version", "1.2.0", code=1
    )
    assert "ALREADY_EXISTS" in other.stderr or "already" in other.stderr
    cli.push(components("tide-1", 10), "--name", "tide")
    assert [v["version"] for v in cli.json("describe", "tide")["versions"]] == ["1.2.1", "1.2.0"]
    # An older number may be filled in; the newest still answers.
    cli.push(components("tide-1", 20), "--name", "tide", "--version", "1.1.0")
    assert answering(cli) == "tide@1.2.1"


def test_several_modules_of_one_interface_are_ambiguous(host, cli, namespace, components):
    cli.push(components("tide-1"), "--name", "north")
    assert answering(cli) == "north@0.1.0"
    cli.push(components("tide-1"), "--name", "south")
    with host.channel() as channel:
        height = channel.unary_unary(f"/{TIDE}/Height")
        error = failure(lambda: height(b"", metadata=namespaced(namespace)))
    assert (error.code, error.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "AMBIGUOUS_MODULE",
    )
    for name in ("north", "south", "roadstead-module"):
        assert name in error.text
    assert answering(cli, "--module", "south") == "south@0.1.0"
    cli.run("delete", "north")
    assert answering(cli) == "south@0.1.0"


def test_a_breaking_push_is_refused_and_may_be_forced(cli, components, tmp_path):
    cli.push(components("tide-1"), "--name", "tide")
    refused = cli.push(components("tide-broken"), "--name", "tide", code=1)
    for part in ("Tide/Retired", "HeightResponse.value", "--force"):
        assert part in refused.stderr, refused.stderr
    assert answering(cli) == "tide@0.1.0"
    forced = cli.json("push", components("tide-broken"), "--name", "tide", "--force")
    assert forced["module"]["forced"]
    newest = cli.json("describe", "tide")["versions"][0]
    assert "Retired" in str(newest["forced"])
    # Numbers of what went stay reserved in what anyone gets from now on.
    cli.run("proto", "tide", "-o", tmp_path)
    assert "Depth" in (tmp_path / "acme/tide/tide/v0_1/tide.proto").read_text()


def test_the_lock_belongs_to_the_package_not_to_the_module(cli, components):
    cli.push(components("tide-1"), "--name", "north")
    refused = cli.push(components("tide-broken"), "--name", "south", code=1)
    assert "HeightResponse.value" in refused.stderr


def test_concurrent_pushes_of_one_name_take_turns(host, namespace, components):
    cli = Cli(host, namespace)
    files = [components("tide-1", padding) for padding in range(1, 9)]
    with concurrent.futures.ThreadPoolExecutor(len(files)) as pool:
        done = list(pool.map(lambda file: cli.json("push", file, "--name", "tide"), files))
    versions = [outcome["module"]["version"] for outcome in done]
    assert sorted(versions) == [f"0.1.{n}" for n in range(8)]
    listed = cli.json("describe", "tide")["versions"]
    digests = {entry["version"]: entry["digest"] for entry in listed}
    assert digests == {o["module"]["version"]: o["module"]["digest"] for o in done}
    assert len(set(digests.values())) == 8
    assert answering(cli) == "tide@0.1.7"


def test_concurrent_pushes_of_one_version_let_one_win(host, namespace, components):
    cli = Cli(host, namespace)
    files = [components("tide-1", padding) for padding in range(11, 17)]
    with concurrent.futures.ThreadPoolExecutor(len(files)) as pool:
        done = list(
            pool.map(
                lambda file: cli.push(file, "--name", "tide", "--version", "3.0.0", code=None),
                files,
            )
        )
    assert sorted(outcome.returncode for outcome in done) == [0] + [1] * 5
    assert len(cli.json("describe", "tide")["versions"]) == 1


def test_every_change_is_watched(host, admin, cli, namespace, components):
    messages, services = admin
    with host.channel() as channel:
        watch = services.ModuleServiceStub(channel).WatchModules(
            messages.WatchModulesRequest(), metadata=namespaced(namespace), timeout=120
        )
        seen = next(watch)
        assert not seen.modules
        cli.push(components("tide-1"), "--name", "tide")
        now = next(watch)
        assert now.revision > seen.revision
        assert [module.name for module in now.modules] == ["tide"]
        cli.run("pin", "tide@0.1.0")
        while not (now.modules and now.modules[0].pinned):
            now = next(watch)
        cli.run("delete", "tide")
        while now.modules:
            now = next(watch)
        watch.cancel()


@pytest.mark.parametrize("name", ["a", "x" * 63, "a-1", "0"])
def test_a_modules_name_may_be_any_label(cli, components, name):
    cli.push(components("tide-1"), "--name", name)
    assert answering(cli) == f"{name}@0.1.0"


@pytest.mark.parametrize("name", ["roadstead", "x" * 64, "-a", "A", "a.b", "ä"])
def test_other_names_are_wrong_usage(cli, components, name):
    cli.push(components("tide-1"), f"--name={name}", code=2)
