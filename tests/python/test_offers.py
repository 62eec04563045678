"""What the operator offers: asked for at push, lost when it is offered no more, shown with its holders."""

import grpc
import pytest
from harness import Cli, module

FILTER = "demo.kv_filter.filter.v0_1.Filter"


def settings(tmp_path, text):
    file = tmp_path / "settings.toml"
    file.write_text(text)
    return file


def spec(tmp_path, text):
    file = tmp_path / "spec.yaml"
    file.write_text(text)
    return file


def push(cli, tmp_path, text, code=0):
    return cli.push(
        module("kv-filter"), "--name", "kv-filter", "--spec", spec(tmp_path, text), code=code
    )


@pytest.mark.parametrize(
    "target", ["api.example.com:80", "localhost:443", "127.0.0.1:443", "169.254.169.254:80"]
)
def test_a_target_that_nobody_offers_is_refused_at_push(new_host, tmp_path, target):
    """A pattern covers the public internet alone; a spec opens nothing by writing it out."""
    host = new_host("--offer-network", "*:443", "--offer-network", "*.example.com:443").start()
    refused = push(Cli(host), tmp_path, f"capabilities: {{network: {{http: ['{target}']}}}}", 1)
    assert target in refused.stderr
    assert "*:443, *.example.com:443" in refused.stderr
    assert "NOT_OFFERED" in refused.stderr or "not offered" in refused.stderr


def test_offers_are_for_those_whom_the_operator_names(new_host, tmp_path):
    secret = tmp_path / "key"
    secret.write_text("hunter2-hunter2\n")
    config = settings(
        tmp_path,
        "[[offers.network]]\ntarget = '10.0.0.0/8:5432'\nto = ['team/kv-filter']\n"
        f"[offers.secrets.api-key]\nfile = '{secret}'\nto = ['team/*']\n",
    )
    host = new_host("--config", config).start()
    wanted = "capabilities: {network: {tcp: ['10.1.2.3:5432']}, secrets: [api-key]}"
    push(Cli(host, "team"), tmp_path, wanted)
    for other in (wanted, "capabilities: {secrets: [api-key]}"):
        refused = push(Cli(host, "other"), tmp_path, other, 1)
        assert "to this module: none" in refused.stderr
    found = {offer["name"]: offer for offer in Cli(host, "team").json("offers")["offers"]}
    held = found["api-key"]["holders"]
    assert [(one["namespace"], one["module"]) for one in held] == [("team", "kv-filter")]
    assert found["10.0.0.0/8:5432"]["holders"][0]["grants"] == ["tcp 10.1.2.3:5432"]
    assert Cli(host, "other").json("offers")["offers"] == []
    everything = Cli(host, "other").run("offers", "--all-namespaces").stdout
    assert "team/kv-filter@0.1.0" in everything and "api-key" in everything
    shown = [
        Cli(host, "team").run("describe", "kv-filter").stdout,
        Cli(host, "team").run("--json", "describe", "kv-filter").stdout,
        everything,
        host.log(),
    ]
    assert not any("hunter2" in text or str(secret) in text for text in shown)
    assert "api-key" in shown[0]


def test_a_grant_that_is_offered_no_more_is_lost_at_restart(new_host, tmp_path):
    data = tmp_path / "datasets"
    data.mkdir()
    (data / "ships.tsv").write_text("berth/1\tAurora\n")
    host = new_host("--dir", f"datasets={data}").start()
    cli = Cli(host)
    push(cli, tmp_path, "capabilities: {files: [{host: datasets, guest: /data}]}")
    cli.push(module("text-stats"), "--name", "text-stats")
    query = {"file": "ships.tsv", "keys": {"prefix": "berth"}, "values": {"any": {}}}
    assert cli.call(f"{FILTER}/Find", {"query": query})["ok"]["entries"]
    host.flags = []
    host.restart()
    with host.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{FILTER}/Files")(b"", timeout=60)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "datasets" in refused.value.details()
    assert "datasets" in cli.run("describe", "kv-filter").stdout
    versions = cli.json("describe", "kv-filter")["versions"]
    assert "datasets" in versions[0]["problem"]
    # The host and its other modules go on.
    cli.call("demo.text_stats.analyze.v0_1.Analyze/Summarize", {"text": "Ships lie at anchor."})
    assert cli.json("offers")["offers"] == []
    host.flags = ["--dir", f"datasets={data}"]
    host.restart()
    assert cli.call(f"{FILTER}/Find", {"query": query})["ok"]["entries"]
    holders = cli.json("offers")["offers"][0]["holders"]
    assert holders[0]["grants"] == ["ro /data"]


@pytest.mark.parametrize(
    "text, part",
    [
        ("[[offers.network]]\ntarget = '0.0.0.0/0:80'", "public internet"),
        ("[offers.secrets.key]\nfile = '/etc/hostname'", "to"),
        ("[offers.directories.a]\npath = '/no/such/place'", "not a directory"),
    ],
)
def test_wrong_offers_keep_the_host_from_starting(new_host, tmp_path, text, part):
    host = new_host("--config", settings(tmp_path, text))
    process = host.spawn()
    assert process.wait(60) != 0
    assert part in host.log()
