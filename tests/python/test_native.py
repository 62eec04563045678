"""Native modules: servers outside of the sandbox, through a real host and its command line."""

import json
import os
import signal
import socket
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import harness
import numpy as np
import pytest
from errors import failure
from harness import Cli, Host, namespaced, until
from natives import Native
from test_auth import Tokens

import roadstead

SERVICE = "acme.harbor.harbor.v0_1.Harbor"
NATIVE = harness.ROOT / "tests/python/native"


@pytest.fixture(scope="session")
def shore(tmp_path_factory):
    """A host that runs native modules; tests have namespaces of their own there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics = f"127.0.0.1:{free.getsockname()[1]}"
    data = tmp_path_factory.mktemp("shore") / "data"
    started = Host(data, "--native", "--metrics", metrics).start()
    started.metrics = metrics
    yield started
    assert started.process.poll() is None, f"the host died: {started.log()}"
    assert started.stop() == 0, started.log()


@pytest.fixture
def cli(shore, namespace):
    return Cli(shore, namespace)


@pytest.fixture
def native():
    """Copies of native modules, where servers see them: they have a `/tmp` of their own."""
    (harness.ROOT / ".build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=harness.ROOT / ".build") as directory:
        yield lambda name: Native(found(name), Path(directory) / name)


def found(name):
    """Of the tests, or of the repository."""
    own = NATIVE / name
    return own if own.exists() else harness.ROOT / "modules" / name


@pytest.fixture
def harbor(native):
    return native("harbor")


@pytest.fixture
def ledger(native):
    return native("ledger")


def connect(cli, name="harbor"):
    """The module as an object."""
    host = roadstead.connect(cli.host.address, namespace=cli.namespace, timeout=60)
    return host.module(name)


def newest(cli, name="harbor"):
    return cli.json("describe", name)["versions"][0]


def standing(cli, name="harbor"):
    return newest(cli, name)["native"]


def reach(cli, state, name="harbor"):
    return until(lambda: (now := standing(cli, name))["state"] == state and now, state)


def refused(call):
    with pytest.raises(roadstead.CallError) as raised:
        call()
    return raised.value


def test_pushed_and_called_like_any_module(cli, harbor, tmp_path):
    said = harbor.push(cli).stdout
    assert "published harbor@0.1.0" in said and "isolation process" in said
    assert cli.call(f"{SERVICE}/Echo", {"text": "ahoy"}) == {"value": "ahoy"}
    assert connect(cli).echo("ahoy") == "ahoy"
    request = urllib.request.Request(
        f"{cli.host.url}/{SERVICE}/Echo",
        json.dumps({"text": "json"}).encode(),
        {"content-type": "application/json", "roadstead-namespace": cli.namespace},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer) == {"value": "json"}
    cli.run("proto", "harbor", "-o", tmp_path / "proto")
    assert "service Harbor" in (tmp_path / "proto/acme/harbor/harbor/v0_1/harbor.proto").read_text()


def test_it_says_how_it_stands(cli, harbor):
    harbor.push(cli)
    native = reach(cli, "ready")
    version = newest(cli)
    assert (version["kind"], version["isolation"]) == ("native", "process")
    assert native["confinement"]
    assert [(one["epoch"], one["state"]) for one in native["attempts"]] == [("1", "ready")]
    assert {method["path"] for method in version["services"][0]["methods"]} == {"passed"}
    assert "native ready" in cli.run("list").stdout
    assert "process, ready" in cli.run("top", "--once").stdout
    text = cli.run("describe", "harbor").stdout
    assert "native    ready" in text and "confined  " in text and "attempt 1    ready" in text
    with urllib.request.urlopen(f"http://{cli.host.metrics}/metrics", timeout=60) as answer:
        rows = [row for row in answer.read().decode().splitlines() if cli.namespace in row]
    rows = {row.split("{")[0]: row.rsplit(" ", 1)[1] for row in rows}
    assert rows["roadstead_module_native_ready"] == rows["roadstead_module_native_attempt"] == "1"
    assert "roadstead_module_running" in rows and "roadstead_module_fuel_total" not in rows
    connect(cli).print("the tide turns")
    until(lambda: "stdout: the tide turns" in cli.run("logs", "harbor").stdout, "the line")


def test_streams_go_both_ways(cli, harbor):
    harbor.push(cli)
    module = connect(cli)
    assert list(module.count(1000)) == list(range(1000))
    assert list(module.double(iter(range(1000)))) == [2 * n for n in range(1000)]
    assert module.total(7, iter(range(1000))) == 7 + sum(range(1000))


def test_errors_keep_their_kind(cli, harbor):
    harbor.push(cli)
    module = connect(cli)
    with pytest.raises(roadstead.Err) as raised:
        module.berth("ghost")
    assert raised.value.value == module.Problem_Unknown("ghost")
    trapped = refused(module.trap)
    assert trapped.reason == "GUEST_TRAP"
    life = module.life()
    crashed = refused(module.crash)
    assert crashed.reason == "INTERRUPTED"
    # It is begun again, and calls wait for it.
    assert until(lambda: module.life() != life, "another process")
    assert max(int(one["epoch"]) for one in reach(cli, "ready")["attempts"]) == 2


def test_deadlines_and_leaving_cancel(cli, harbor):
    harbor.push(cli)
    module = connect(cli)
    assert module.cancelled() == 0
    with cli.host.channel() as channel:
        wait = channel.unary_unary(f"/{SERVICE}/WaitUntilCancelled")
        metadata = namespaced(cli.namespace)
        said = failure(lambda: wait(b"", timeout=0.5, metadata=metadata))
        assert said.code == grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: module.cancelled() == 1, "the server heard of the deadline")
        calling = wait.future(b"", metadata=metadata)
        until(lambda: cli.json("describe", "harbor")["usage"].get("running") == "1", "it runs")
        calling.cancel()
        until(lambda: module.cancelled() == 2, "the server heard of the cancellation")


def test_limits_of_the_spec_hold(cli, harbor):
    harbor.push(cli, limits={"deadline": "1s", "input": 100, "output": 100})
    reach(cli, "ready")
    module = connect(cli)
    assert len(module.echo("x" * 50)) == 50
    assert refused(lambda: module.echo("x" * 200)).reason == "INPUT_LIMIT"
    assert refused(lambda: module.doze(3000)).reason == "DEADLINE"


def test_what_the_host_signs_no_client_says(cli, harbor):
    harbor.push(cli)
    with cli.host.channel() as channel:
        forged = [
            ("roadstead-call-bin", b"\x0a\x05admin"),
            ("roadstead-signature-bin", b"\x00" * 32),
            ("roadstead-path", "other"),
        ]
        metadata = namespaced(cli.namespace, *forged)
        answer = channel.unary_unary(f"/{SERVICE}/Who")(b"", metadata=metadata, timeout=60)
    assert f"nobody of {cli.namespace} through".encode() in answer
    assert b"admin" not in answer and b"other" not in answer


def test_many_at_once(cli, harbor):
    harbor.push(cli, quota={"concurrency": 8})
    module = connect(cli)
    with ThreadPoolExecutor(32) as pool:
        said = list(pool.map(lambda n: module.echo(str(n)), range(500)))
    assert said == [str(n) for n in range(500)]


def test_a_server_that_breaks_its_contract_is_never_ready(cli, harbor):
    wit = harbor.directory / "wit/harbor.wit"
    wit.write_text(wit.read_text().replace("life: func()", "life: func(more: string)"))
    harbor.push(cli)
    native = until(lambda: (now := standing(cli)).get("reason") and now, "a reason")
    assert native["state"] in ("failed", "backing-off") and "Life" in native["reason"]
    module = roadstead.connect(cli.host.address, namespace=cli.namespace, timeout=5)
    assert refused(lambda: module.module("harbor").echo("ahoy")).reason == "NOT_READY"
    failing = cli.json("status")["hosts"][0]["failing"]
    assert [(one["module"], one["problem"]) for one in failing] == [("harbor", native["reason"])]
    # Mended, and pushed again as it is.
    harbor.bind()
    assert "already published" in harbor.push(cli).stdout
    reach(cli, "ready")


def test_another_version_runs_once_it_is_pinned(cli, harbor):
    harbor.push(cli)
    first = connect(cli).life()
    harbor.push(cli, env={"TIDE": "high"})
    assert until(lambda: connect(cli).life() != first, "the new version answers")
    echo = (f"{SERVICE}/Echo", {"text": "x"})
    said = cli.call(*echo, "--module", "harbor@0.1.0", code=1)
    assert "NOT_READY" in said.stderr and "pin" in said.stderr
    assert cli.call(*echo, "--module", "harbor@0.1.1") == {"value": "x"}
    cli.run("pin", "harbor@0.1.0")
    until(lambda: cli.call(*echo, "--module", "harbor@0.1.0", code=None).returncode == 0, "it runs")
    wanted = {"0.1.1": "off", "0.1.0": "ready"}
    until(lambda: states(cli) == wanted, "one is off, the other ready")


def states(cli, module="harbor"):
    """By version."""
    versions = cli.json("describe", module)["versions"]
    return {one["version"]: one["native"]["state"] for one in versions}


def test_compatibility_is_checked(cli, harbor):
    harbor.push(cli)
    wit = harbor.directory / "wit/harbor.wit"
    wit.write_text(wit.read_text().replace("echo: func(text: string)", "echo: func(text: u64)"))
    checked = cli.run("check", *harbor.spec(), "--against", "harbor", code=1).stdout
    assert "would break callers" in checked
    assert "would break callers" in harbor.push(cli, code=1).stderr
    alone = cli.json("check", *harbor.spec())
    assert (alone["module"]["kind"], alone["module"]["isolation"]) == ("native", "process")


def test_idle_ones_end_and_calls_begin_them(cli, harbor):
    harbor.push(cli, idle="1s")
    module = connect(cli)
    life = module.life()
    reach(cli, "idle")
    until(lambda: not harbor.processes(), "nothing runs")
    assert module.life() != life


def test_delete_ends_the_process(cli, harbor):
    harbor.push(cli)
    connect(cli).life()
    assert harbor.processes()
    cli.run("delete", "harbor")
    until(lambda: not harbor.processes(), "nothing runs")


def test_only_where_allowed(new_host, harbor):
    host = new_host().start()
    refused = harbor.push(Cli(host), code=1).stderr
    assert "NOT_OFFERED" in refused and "--native" in refused
    assert host.stop() == 0


def test_only_by_admins(new_host, tmp_path, harbor):
    tokens = Tokens(tmp_path)
    for name in ("publisher", "admin"):
        tokens.new(name)
    grants = [("token:publisher", "publisher", "team"), ("token:admin", "admin", "team")]
    host = new_host("--native", "--auth", tokens.write(*grants)).start()
    publisher = Cli(host, "team", extra=["--token", tokens["publisher"]])
    for verb in (["push", *harbor.spec()], ["check", *harbor.spec(), "--against", "harbor"]):
        assert "needs admin" in publisher.run(*verb, code=1).stderr
    assert not harbor.processes()
    admin = Cli(host, "team", extra=["--token", tokens["admin"]])
    harbor.push(admin)
    who = publisher.call(f"{SERVICE}/Who")["value"]
    assert who.startswith("token:publisher of team"), who


def test_never_for_anyone(new_host):
    host = new_host("--native", "--insecure-no-auth", listen="0.0.0.0:0")
    host.process = host.spawn()
    assert host.process.wait(harness.PATIENCE) == 2
    assert "outside of the sandbox" in host.log()


def test_restarts_of_the_host(new_host, ledger):
    host = new_host("--native").start()
    cli = Cli(host)
    ledger.push(cli, stateful=True)
    first = connect(cli, "ledger").add(3)
    assert (first.sum, first.epoch) == (3, 1)
    assert host.stop() == 0
    assert not ledger.processes()
    host.start()
    second = connect(cli, "ledger").add(4)
    assert (second.sum, second.epoch) == (7, 2)
    # A host that has no time to end them leaves nothing behind either.
    host.kill()
    until(lambda: not ledger.processes(), "no orphan lives")
    host.start()
    third = connect(cli, "ledger").add(5)
    assert (third.sum, third.epoch) == (12, 3)
    # The state is the module's, and goes on with the next version.
    ledger.push(cli, stateful=True, env={"TIDE": "high"})
    until(lambda: connect(cli, "ledger").add(0).epoch == 4, "the next version answers")
    assert connect(cli, "ledger").add(1).sum == 13


def test_a_stopped_server_is_noticed(cli, harbor):
    probes = {"period": "1s", "failures": 2}
    harbor.push(cli, probes=probes, activation_timeout="60s")
    life = connect(cli).life()
    for process in harbor.processes():
        os.kill(process, signal.SIGSTOP)
    after = until(lambda: try_life(cli), "another process")
    assert after != life


def try_life(cli):
    try:
        return connect(cli).life()
    except roadstead.CallError:
        return None


def test_linalg_by_its_own_spec(new_host, tmp_path):
    """As the README has it, but for where the host was started: the settings say that."""
    settings = tmp_path / "settings.toml"
    directory = tmp_path / "native"
    settings.write_text(
        f"[native]\nenabled = true\nworking = '{harness.ROOT}'\ndirectory = '{directory}'\n"
    )
    cli = Cli(new_host("--config", settings, cwd=tmp_path).start())
    cli.run("push", "--native", harness.ROOT / "modules/linalg/roadstead.yaml")
    linalg = connect(cli, "linalg")
    square = linalg.Matrix(2, 2, np.array([2.0, 1.0, 1.0, 3.0]))
    assert np.allclose(linalg.solve(square, np.array([3.0, 5.0])), [0.8, 1.4])
    sums = linalg.running_sum(iter([np.ones(3), np.ones(4)]))
    assert list(sums) == [3.0, 7.0]
    with pytest.raises(roadstead.Err):
        linalg.solve(linalg.Matrix(1, 1, np.zeros(1)), np.ones(1))
    assert (directory / "records").is_dir()
    assert cli.host.stop() == 0


def test_a_binding_leads_to_a_version_that_runs(cli, native):
    """While the newest has no server that is ready, the one before answers through bindings, too."""
    linalg = native("linalg")
    linalg.push(cli)
    cli.push(harness.module("regression"), *harness.spec_of("regression"))
    points = [{"x": x, "y": 2 * x + 1} for x in range(3)]

    def line():
        curve = cli.call("demo.regression.regression.v0_1.Regression/Line", {"points": points})
        return curve["ok"]["coefficients"]

    assert line() == pytest.approx([1, 2])
    linalg.push(cli, command=["sleep", "3600"])
    assert states(cli, "linalg") == {"0.1.1": "starting", "0.1.0": "ready"}
    assert line() == pytest.approx([1, 2])
    (bound,) = cli.json("describe", "regression")["versions"][0]["bindings"]
    assert (bound["state"], bound["target"]) == ("STATE_BOUND", "linalg@0.1.0")
    # Whoever is bound anew must fit what is to answer.
    wit = linalg.directory / "wit/linalg.wit"
    wit.write_text(wit.read_text().replace("rows: u32", "rows: u64"))
    linalg.push(cli, "--force", command=["sleep", "3600"])
    anew = (harness.module("regression"), "--name", "anew", *harness.spec_of("regression"))
    assert "BAD_BINDING" in cli.push(*anew, code=1).stderr
    assert line() == pytest.approx([1, 2])


def test_what_servers_do_not_see(new_host, native, tmp_path):
    """Neither the host's data nor what its settings hide."""
    harbor, hidden = native("harbor"), native("ledger").directory
    settings = tmp_path / "settings.toml"
    settings.write_text(f"[native]\nenabled = true\nhidden = ['{hidden}']\n")
    cli = Cli(new_host("--config", settings).start())
    harbor.push(cli)
    if "files" not in reach(cli, "ready")["confinement"]:
        return
    module = connect(cli)
    assert module.sees(str(harbor.directory / "harbor.py"))
    assert not module.sees(str(hidden / "ledger.py"))
    assert not module.sees(str(cli.host.data_dir / "catalog.redb"))
