"""What a module may touch: only what its spec names and the operator offers."""

import os

import pytest
from harness import Cli, module, roadstead, spec_of

FILTER = "demo.kv_filter.filter.v0_1.Filter"


def filter_pushed(host, namespace, *spec):
    cli = Cli(host, namespace)
    cli.push(module("kv-filter"), "--name", "kv-filter", *spec)
    return cli


@pytest.fixture
def offered(host, tmp_path):
    (host.offered / "ships.tsv").write_text("berth/1\tAurora\nberth/2\tBorealis\nbuoy/1\tred\n")
    secret = tmp_path / "secret.tsv"
    secret.write_text("password\thunter2\n")
    link = host.offered / "link.tsv"
    if not link.is_symlink():
        link.symlink_to(secret)
    return host.offered


def find(cli, file, code=0):
    query = {"file": file, "keys": {"prefix": "berth"}, "values": {"any": {}}}
    return cli.call(f"{FILTER}/Find", {"query": query}, code=code)


def test_an_offered_and_named_directory_is_read(host, namespace, offered):
    cli = filter_pushed(host, namespace, *spec_of("kv-filter"))
    found = find(cli, "ships.tsv")["ok"]
    assert [entry["value"] for entry in found["entries"]] == ["Aurora", "Borealis"]
    listed = cli.call(f"{FILTER}/Files")["ok"]["items"]
    assert "ships.tsv" in [file["name"] for file in listed]
    grouped = cli.call(f"{FILTER}/Group", {"file": "ships.tsv", "separator": "/"})
    assert grouped["ok"]["entries"] == {"berth": "2", "buoy": "1"}


def test_nothing_outside_the_directory_is_read(host, namespace, offered):
    cli = filter_pushed(host, namespace, *spec_of("kv-filter"))
    for file in ("link.tsv", "../secret.tsv", "/etc/passwd", "..", "ships.tsv/../link.tsv"):
        answer = find(cli, file)
        assert "error" in answer, answer
        assert "hunter2" not in str(answer)


def test_without_the_spec_there_is_no_directory(host, namespace, offered):
    cli = filter_pushed(host, namespace)
    assert "noDirectory" in find(cli, "ships.tsv")["error"]


def test_a_directory_that_nobody_offers_is_refused_at_push(new_host):
    host = new_host().start()
    refused = Cli(host).push(
        module("kv-filter"), "--name", "kv-filter", *spec_of("kv-filter"), code=1
    )
    assert "datasets" in refused.stderr
    assert "--dir" in refused.stderr


def test_a_read_only_directory_is_not_granted_for_writing(new_host, tmp_path):
    data = tmp_path / "offered"
    data.mkdir()
    host = new_host("--dir", f"datasets={data}").start()
    spec = tmp_path / "greedy.yaml"
    spec.write_text("capabilities: {files: [{host: datasets, guest: /data, mode: rw}]}")
    refused = Cli(host).push(
        module("kv-filter"), "--name", "kv-filter", "--spec", spec, code=1
    )
    assert "datasets" in refused.stderr


def test_grants_are_shown(host, namespace, offered, tmp_path):
    cli = Cli(host, namespace)
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "capabilities:\n"
        "  files: [{host: datasets, guest: /data, mode: ro}]\n"
        "  env: {MODE: strict}\n"
        "  clocks: real\n"
    )
    pushed = cli.json("push", module("kv-filter"), "--name", "kv-filter", "--spec", spec)
    grants = {entry["name"]: entry["grant"] for entry in pushed["module"]["imports"]}
    assert any(name.startswith("wasi:filesystem/") for name in grants)
    assert all(grants.values())
    assert "/data" in str(grants) and "MODE" in str(grants)


def test_the_hosts_environment_stays_with_the_host(host, namespace):
    """A guest's environment is its spec's; the marker of this test run is in the host's."""
    assert host.mark in (open(f"/proc/{host.process.pid}/environ").read())
    said = roadstead("check", module("kv-filter")).stdout
    assert host.mark not in said
    assert os.environ["PATH"] not in said
