"""The command line: every client verb, its output for people and for machines, its exit code."""

import json
import os
import socket
import subprocess
import threading

import harness
import pytest
import wire
from harness import BIN, Cli, roadstead

TIDE = "acme.tide.tide.v0_1.Tide"


@pytest.fixture
def tide(cli, components):
    cli.push(components("tide-1"), "--name", "tide")
    return cli


def test_a_push_says_what_is_callable_and_what_is_not(cli, components):
    said = cli.push(components("unmapped"), "--name", "mixed").stdout
    for part in ("mixed@0.1.0", "sha256:", "acme.unmapped.mixed.v0_1.Mixed", "Plain", "counter"):
        assert part in said, said
    answer = cli.call("acme.unmapped.mixed.v0_1.Mixed/Plain", {"value": 3})
    assert answer == {"value": 3}
    pushed = cli.json("push", components("kinds"), "--name", "kinds")
    assert pushed["created"] is True
    assert pushed["module"]["digest"].startswith("sha256:")
    assert {service["name"] for service in pushed["module"]["services"]} == {
        "acme.kinds.kinds.v0_3.Kinds",
        "roadstead.module.kinds.v0_1.Module",
    }


def test_a_name_comes_from_the_file_where_none_is_given(cli, components):
    assert "tide-1-0@0.1.0" in cli.push(components("tide-1")).stdout


def test_list_and_describe(tide):
    assert "tide" in tide.run("list").stdout
    (module,) = tide.json("list")["modules"]
    assert module["name"] == "tide"
    tide.call(f"{TIDE}/Height", {"hour": 1})
    described = tide.json("describe", "tide")
    (version,) = described["versions"]
    assert version["version"] == "0.1.0"
    assert version["isolation"] == "sandbox"
    assert int(version["publishedUnixMs"]) > 0
    assert json.loads(version["specJson"])["limits"]["memory"] == "256Mi"
    assert int(described["stats"]["calls"]) >= 1
    assert "Height" in tide.run("describe", "tide").stdout
    assert "absent" in tide.run("describe", "absent", code=1).stderr


def test_describe_is_readable(tide):
    tide.call(f"{TIDE}/Height", {"hour": 1})
    said = tide.run("describe", "tide").stdout
    for part in ("cpu ", "granted what others leave, weight 100", "memory ", "MiB", "calls     1 ended", "fuel "):
        assert part in said, said
    assert "spec      the defaults" in said
    assert max(map(len, said.splitlines())) < 120, said


def test_top_shows_usage_against_grants(tide, components, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("quota: {cpu: 100m, borrow: false, weight: 7}\n")
    tide.push(components("busy"), "--name", "busy", "--spec", spec)
    tide.call(f"{TIDE}/Height", {"hour": 1})
    head, _, columns, *rows = tide.run("top", "--once").stdout.splitlines()
    assert head.startswith("cpu ") and " of " in head
    assert columns.split()[:3] == ["MODULE", "CPU", "GRANTED"]
    shown = {row.split()[0]: row.split() for row in rows}
    assert set(shown) == {"tide", "busy"}
    assert shown["busy"][2] == "≤100m" and shown["tide"][2] == "-"
    usage = tide.json("top", "--once")
    assert int(usage["hostMillicores"]) >= 1000
    modules = {module["name"]: module for module in usage["modules"]}
    # The busiest comes first.
    assert usage["modules"][0]["name"] == "tide"
    assert int(modules["tide"]["calls"]) == 1
    assert int(modules["tide"]["cpu"]["totalUs"]) > 0
    assert int(modules["tide"]["memory"]["instanceLimitBytes"]) == 256 << 20
    busy = modules["busy"]["cpu"]
    wanted = {"guaranteedMillicores": "100", "limitMillicores": "100", "weight": "7"}
    assert {key: busy[key] for key in wanted} == wanted
    described = tide.json("describe", "busy")
    assert described["usage"]["cpu"]["limitMillicores"] == "100"
    said = tide.run("describe", "busy").stdout
    assert "granted 100m and no more, weight 7" in said and "quota.cpu: 100m" in said


def test_top_goes_on_until_it_is_stopped(tide):
    command = tide.command("--json", "top", "--interval", "100ms")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as top:
        looks = [json.loads(top.stdout.readline()) for _ in range(3)]
        top.kill()
    assert all(look["modules"][0]["name"] == "tide" for look in looks)


def test_more_processor_time_than_there_is(tide, components, tmp_path):
    spec = tmp_path / "spec.yaml"
    spec.write_text("quota: {cpu: 100000}\n")
    refused = tide.push(components("busy"), "--name", "busy", "--spec", spec, code=1).stderr
    assert "quota.cpu is 100000" in refused, refused
    assert "NEVER_FITS" in refused


def test_delete(tide, components):
    tide.push(components("tide-2"), "--name", "tide")
    assert "tide@0.1.1" in tide.run("delete", "tide@0.1.1").stdout
    assert [v["version"] for v in tide.json("describe", "tide")["versions"]] == ["0.1.0"]
    tide.run("delete", "tide@0.1.1", code=1)
    tide.run("delete", "tide")
    assert tide.json("list").get("modules", []) == []
    tide.run("delete", "tide", code=1)
    tide.call(f"{TIDE}/Height", {"hour": 1}, code=1)
    # The name is free again, for another interface too.
    tide.push(components("busy"), "--name", "tide")


def test_call(tide, tmp_path):
    assert tide.call(f"{TIDE}/Height", {"hour": 5}) == {"value": 5}
    assert tide.call(f"{TIDE}/Height") == {"value": 0}
    file = tmp_path / "request.json"
    file.write_text('{"hour": 6}')
    assert json.loads(tide.run("call", f"{TIDE}/Height", "-d", f"@{file}").stdout) == {"value": 6}
    piped = tide.run("call", f"{TIDE}/Height", "-d", "@-", stdin='{"hour": 7}')
    assert json.loads(piped.stdout) == {"value": 7}
    verbose = tide.run("call", f"{TIDE}/Height", "-v", "--module", "tide@0.1.0")
    for part in ("tide@0.1.0", "fuel", "memory", "fresh"):
        assert part in verbose.stderr, verbose.stderr


def test_a_failed_call_exits_with_1_and_says_why(tide):
    failed = tide.run("call", f"{TIDE}/Height", "-d", '{"hour": 1}', "--module", "absent", code=1)
    assert "NO_SUCH_MODULE" in failed.stderr
    assert failed.stdout == ""
    failed = tide.run("--json", "call", f"{TIDE}/Height", "--module", "tide@7.0.0", code=1)
    error = json.loads(failed.stderr)["error"]
    assert error["reason"] == "NO_SUCH_VERSION"
    for data in ("{", "[]", '{"nosuch": 1}', '{"hour": -1}'):
        tide.run("call", f"{TIDE}/Height", "-d", data, code=1)
    tide.run("call", f"{TIDE}/Absent", code=1)
    tide.run("call", "no.such.Service/Call", code=1)


def test_wrong_usage_exits_with_2():
    for args in (
        [],
        ["frobnicate"],
        ["push"],
        ["call"],
        ["list", "--frobnicate"],
        ["call", "a.B/C", "--timeout", "soon"],
        ["describe", "Not A Name"],
        ["pin", "tide@not.a.version"],
        ["pin", "tide"],
        ["call", "no-method"],
        ["--host", "not a url", "list"],
        ["proto", "tide"],
    ):
        roadstead(*args, code=2)


def test_help_and_version_need_nothing():
    assert "roadstead" in roadstead("--version").stdout
    everything = roadstead("--help").stdout
    verbs = "serve push check list describe delete pin unpin proto call logs demo".split()
    for verb in verbs:
        assert verb in everything
        assert "Usage" in roadstead(verb, "--help").stdout


def test_no_host_is_said_with_what_to_do():
    failed = roadstead("--host", "http://127.0.0.1:9", "list", code=1)
    assert "roadstead serve" in failed.stderr


def test_the_environment_names_the_host(host, tide, namespace):
    environment = {**os.environ, "ROADSTEAD_HOST": host.url}
    done = subprocess.run(
        [BIN, "-n", namespace, "list"],
        capture_output=True, text=True, env=environment, check=True,
    )  # fmt: skip
    assert "tide" in done.stdout


def test_check_needs_no_host(components, tmp_path):
    said = roadstead("check", components("unmapped"), code=0).stdout
    assert "acme.unmapped.mixed.v0_1.Mixed" in said
    assert "counter" in said
    report = json.loads(roadstead("--json", "check", components("tide-1")).stdout)
    assert TIDE in json.dumps(report)
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(components("tide-1").read_bytes()[:300])
    roadstead("check", broken, code=1)
    assert "moon-phase" in roadstead("check", components("unknown-import"), code=1).stderr
    spec = tmp_path / "bad.yaml"
    spec.write_text("limits: {memry: 1Mi}")
    assert "memry" in roadstead("check", components("tide-1"), "--spec", spec, code=1).stderr


def test_check_against_a_published_module_lists_breaks(tide, components):
    report = tide.json("check", components("tide-broken"), "--against", "tide", code=None)
    subjects = json.dumps(report["breaks"])
    assert "Retired" in subjects
    assert "HeightResponse.value" in subjects
    assert "breaks" not in tide.json("check", components("tide-2"), "--against", "tide") or (
        tide.json("check", components("tide-2"), "--against", "tide")["breaks"] == []
    )
    mistyped = tide.run("check", components("tide-broken"), "--against", "tyde", code=None)
    assert "no module `tyde` is published" in mistyped.stderr
    # Nothing was published by any.
    assert len(tide.json("describe", "tide")["versions"]) == 1


def test_proto_of_wit_equals_proto_of_the_module(tide, tmp_path):
    tide.run("proto", "tide", "-o", tmp_path / "module")
    roadstead("proto", "--wit", harness.FIXTURES / "tide-1.wit", "-o", tmp_path / "wit")
    files = harness.proto_files(tmp_path / "module")
    assert [str(file) for file in files] == ["acme/tide/tide/v0_1/tide.proto"]
    for file in files:
        assert (tmp_path / "module" / file).read_text() == (tmp_path / "wit" / file).read_text()
    lock = (tmp_path / "module/roadstead.lock").read_text()
    assert "acme.tide.tide.v0_1" in lock


def test_comments_come_with_the_wit(cli, components, tmp_path):
    wit = harness.FIXTURES / "kinds.wit"
    cli.push(components("kinds"), "--name", "kinds", "--wit", wit)
    cli.run("proto", "kinds", "-o", tmp_path)
    assert "// Gives everything back." in (tmp_path / "acme/kinds/kinds/v0_3/kinds.proto").read_text()
    assert "// A point on the chart." in (tmp_path / "acme/kinds/shapes/v0_3/shapes.proto").read_text()


def test_logs_of_a_module_without_output_and_of_none(tide):
    assert tide.run("logs", "tide").stdout == ""
    tide.run("logs", "absent", code=1)


def test_logs_are_followed(host, cli, namespace):
    cli.push(harness.module("hostile-log-flood"), "--name", "talker")
    following = subprocess.Popen(
        cli.command("logs", "talker", "-f"), stdout=subprocess.PIPE, text=True
    )
    try:
        for _ in range(2):
            cli.run("call", "hostile.log_flood.log_flood.v0_1.LogFlood/Lines",
                    "-d", '{"count": 2, "length": 10}')  # fmt: skip
            lines = [following.stdout.readline() for _ in range(2)]
            assert "stdout" in lines[0] and "stderr" in lines[1]
    finally:
        following.kill()
    assert len(cli.run("logs", "talker", "--tail", "1").stdout.splitlines()) == 1
    assert len(cli.run("logs", "talker").stdout.splitlines()) == 4


def test_a_lock_keeps_numbers(cli, components, tmp_path):
    """Written by one host, given to another or to WIT alone, it keeps what callers know."""
    wit = tmp_path / "tide.wit"
    text = (harness.FIXTURES / "tide-1.wit").read_text()
    wit.write_text(text.replace("hour: u32)", "day: u32, hour: u32)", 1))
    roadstead("proto", "--wit", harness.FIXTURES / "tide-1.wit", "-o", tmp_path / "old")
    lock = tmp_path / "old/roadstead.lock"
    roadstead("proto", "--wit", wit, "--lock", lock, "-o", tmp_path / "new")
    proto = (tmp_path / "new/acme/tide/tide/v0_1/tide.proto").read_text()
    assert "uint32 hour = 1;" in proto
    assert "uint32 day = 2;" in proto
    cli.push(components("tide-1"), "--name", "tide", "--lock", lock)
    cli.push(components("tide-1"), "--name", "other", "--lock", wit, code=1)


def test_namespaces_do_not_see_each_other(host, tide):
    other = Cli(host, "somewhere-else")
    assert other.json("list").get("modules", []) == []
    other.run("describe", "tide", code=1)
    other.call(f"{TIDE}/Height", {"hour": 1}, code=1)
    Cli(host, "Not A Namespace").run("list", code=2)


def test_a_host_that_dies_meanwhile_is_said():
    """Not what some library calls it; nor that nothing was done."""

    def die(listener):
        connection, _ = listener.accept()
        with connection, connection.makefile("rb") as came:
            connection.sendall(wire.frame(wire.SETTINGS, 0, 0))
            came.read(len(wire.PREFACE))
            kind = None
            while kind != wire.HEADERS:
                head = came.read(9)
                kind = head[3]
                came.read(int.from_bytes(head[:3], "big"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=die, args=[listener], daemon=True).start()
        port = listener.getsockname()[1]
        said = roadstead("list", "--host", f"http://127.0.0.1:{port}", code=1).stderr
    assert "the connection ended before the answer did" in said, said
    assert "UNAVAILABLE" in said and "is not known" in said
