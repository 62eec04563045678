"""Starting, stopping, crashing and coming back: no call fails, no acknowledged push is lost."""

import contextlib
import json
import random
import shutil
import subprocess
import threading
import time

import grpc
import harness
import pytest
from errors import failure
from harness import BIN, Cli, Host, roadstead, roadstead_raw, varints

HEIGHT = "/acme.tide.tide.v0_1.Tide/Height"
TIDE = "acme.tide.tide.v0_1.Tide"
BUSY = "/acme.busy.busy.v0_1.Busy/Busy"


class Load:
    """Callers that never pause; each remembers when its calls began and how they ended."""

    def __init__(self, host, callers=8, method=HEIGHT, request=b"\x08\x05"):
        self.host, self.method, self.request = host, method, request
        self.done = threading.Event()
        self.records = []
        self.threads = [threading.Thread(target=self.work) for _ in range(callers)]

    def work(self):
        with self.host.channel() as channel:
            call = channel.unary_unary(self.method)
            while not self.done.is_set():
                began = time.monotonic()
                try:
                    _, finished = call.with_call(self.request, timeout=harness.PATIENCE)
                    trailers = dict(finished.trailing_metadata())
                    self.records.append((began, None, trailers["roadstead-module"]))
                except grpc.RpcError as error:
                    self.records.append((began, error.code(), error.details()))
                    if error.code() == grpc.StatusCode.UNAVAILABLE:
                        time.sleep(0.01)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *exception):
        self.done.set()
        for thread in self.threads:
            thread.join()

    def answered(self):
        return sum(1 for record in self.records if record[1] is None)

    def failures(self):
        return [record for record in self.records if record[1] is not None]


def test_a_host_says_where_it_listens_and_ends_cleanly(new_host):
    host = new_host().start()
    assert host.stop() == 0
    assert not host.processes()


def test_sigterm_drains_without_failing_a_call(new_host, components, tmp_path):
    host = new_host().start()
    spec = tmp_path / "busy.yaml"
    spec.write_text("limits: {fuel_per_call: 1000000000000, deadline: 60s}")
    Cli(host).push(components("busy"), "--name", "busy", "--spec", spec)
    with Load(host, callers=4, method=BUSY, request=varints(300_000_000)) as load:
        harness.until(lambda: load.answered() >= 4, "the load runs")
        asked = time.monotonic()
        assert host.stop() == 0
    early = [record for record in load.failures() if record[0] < asked]
    assert not early, early[:3]
    assert all(record[1] == grpc.StatusCode.UNAVAILABLE for record in load.failures())


def test_a_drain_is_bounded(new_host, components, tmp_path):
    host = new_host("--drain-timeout", "500ms").start()
    spec = tmp_path / "busy.yaml"
    spec.write_text("limits: {fuel_per_call: 1000000000000000, deadline: 1h}")
    Cli(host).push(components("busy"), "--name", "busy", "--spec", spec)
    with host.channel() as channel:
        call = channel.unary_unary(BUSY).future(varints((1 << 64) - 1))
        harness.until(
            lambda: int(
                Cli(host).json("describe", "busy").get("stats", {}).get("running", 0)
            ),
            "the call runs",
        )
        host.stop()
        error = failure(call.result)
        assert error.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def test_publishing_under_load_fails_no_call(new_host, components):
    host = new_host().start()
    cli = Cli(host)
    cli.push(components("tide-1"), "--name", "tide")
    with Load(host) as load:
        harness.until(lambda: load.answered() > 50, "the load runs")
        for padding in range(1, 8):
            cli.push(components("tide-1", padding), "--name", "tide")
            cli.run("pin", "tide@0.1.0")
            cli.run("unpin", "tide")
        before = load.answered()
        harness.until(lambda: load.answered() > before + 50, "the load goes on")
    assert not load.failures(), load.failures()[:3]
    served = {record[2] for record in load.records}
    assert {"tide@0.1.0", "tide@0.1.7"} <= served


def test_deleting_an_old_version_under_load_fails_no_call(new_host, components):
    host = new_host().start()
    cli = Cli(host)
    cli.push(components("tide-1"), "--name", "tide")
    cli.push(components("tide-2"), "--name", "tide")
    with Load(host) as load:
        harness.until(lambda: load.answered() > 20, "the load runs")
        cli.run("delete", "tide@0.1.0")
        before = load.answered()
        harness.until(lambda: load.answered() > before + 20, "the load goes on")
    assert not load.failures(), load.failures()[:3]


def test_a_restart_serves_everything_and_compiles_nothing(new_host, components):
    host = new_host().start()
    cli = Cli(host)
    cli.push(components("tide-1"), "--name", "tide")
    cli.push(components("tide-2"), "--name", "tide")
    cli.push(components("kinds"), "--name", "kinds")
    cli.push(harness.module("text-stats"), "--name", "text-stats")
    cli.run("pin", "tide@0.1.0")
    listed = cli.json("list")
    files = code_files(host)
    assert files
    host.restart()
    after = cli.json("list")
    strip = lambda modules: [{**m, "stats": None, "usage": None} for m in modules["modules"]]  # noqa: E731
    assert strip(after) == strip(listed)
    assert cli.call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}
    assert cli.call("acme.kinds.kinds.v0_3.Kinds/Number", {"value": 4}) == {"value": 4}
    alike = cli.call("demo.text_stats.analyze.v0_1.Analyze/Similarity", {"a": "x", "b": "x"})
    assert alike == {"value": 1}
    assert code_files(host) == files, "compiled code is as it was"


def code_files(host):
    """Compiled code on disk, with what would change if it were written again."""
    return {
        path: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size)
        for path in host.data_dir.rglob("*")
        if path.is_file() and "compiled" in path.parts
    }


def machine_code(files):
    return [path for path in files if path.suffix == ".code"]


def test_tampered_and_foreign_code_is_never_loaded(new_host, components):
    host = new_host().start()
    cli = Cli(host)
    cli.push(components("tide-1"), "--name", "tide")
    first = set(code_files(host))
    cli.push(components("kinds"), "--name", "kinds")
    second = set(code_files(host)) - first
    host.stop()
    (tide_file,), (kinds_file,) = machine_code(first), machine_code(second)
    genuine = tide_file.read_bytes()
    damages = {
        "a flipped bit": genuine[:-100] + bytes([genuine[-100] ^ 1]) + genuine[-99:],
        "a flipped bit at the front": bytes([genuine[0] ^ 1]) + genuine[1:],
        "cut short": genuine[: len(genuine) // 2],
        "empty": b"",
        "the code of another module": kinds_file.read_bytes(),
    }
    for what, content in damages.items():
        tide_file.chmod(0o600)
        tide_file.write_bytes(content)
        host.start()
        assert cli.call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}, what
        host.stop()
        assert tide_file.read_bytes() != content, f"{what}: compiled again"
    tide_file.unlink()
    host.start()
    assert cli.call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}


def test_code_signed_by_another_host_is_not_trusted(tmp_path, new_host, components):
    ours, theirs = new_host(data_dir=tmp_path / "ours"), new_host(data_dir=tmp_path / "theirs")
    for host in (ours, theirs):
        host.start()
        Cli(host).push(components("tide-1"), "--name", "tide")
        host.stop()
    (mine,), (foreign,) = machine_code(code_files(ours)), machine_code(code_files(theirs))
    # Their code with the signature that their key gives it.
    for suffix in (".code", ".sig"):
        target = mine.with_suffix(suffix)
        target.chmod(0o600)
        target.write_bytes(foreign.with_suffix(suffix).read_bytes())
    before = mine.with_suffix(".sig").read_bytes()
    ours.start()
    assert Cli(ours).call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}
    ours.stop()
    assert mine.with_suffix(".sig").read_bytes() != before, "compiled and signed anew"


def test_evicted_code_is_loaded_again(new_host, components):
    """With room for next to nothing, every module still answers every time."""
    host = new_host("--code-budget", "1").start()
    cli = Cli(host)
    cli.push(components("tide-1"), "--name", "tide")
    cli.push(components("kinds"), "--name", "kinds")
    for number in range(3):
        assert cli.call(f"{TIDE}/Height", {"hour": number}) == {"value": number}
        answer = cli.call("acme.kinds.kinds.v0_3.Kinds/Number", {"value": number})
        assert answer == {"value": number}


def test_kill_9_at_any_instant_of_a_push(new_host, components, tmp_path):
    """The old version serves after a restart, and every push that was acknowledged is there."""
    chance = random.Random(1234)
    host = new_host().start()
    cli = Cli(host)
    cli.push(components("tide-1"), "--name", "tide", "--version", "0.0.1")
    acknowledged = {"0.0.1"}
    began = time.monotonic()
    cli.push(components("tide-1", 2_000_000), "--name", "tide", "--version", "0.0.2")
    acknowledged.add("0.0.2")
    usual = time.monotonic() - began
    torn = 0
    for number in range(3, 27):
        file = components("tide-1", 2_000_000 + number)
        version = f"0.0.{number}"
        pushing = subprocess.Popen(
            cli.command("push", file, "--name", "tide", "--version", version),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        time.sleep(chance.uniform(0, usual * 1.4))
        host.kill()
        pushing.communicate()
        if pushing.returncode == 0:
            acknowledged.add(version)
        else:
            torn += 1
        harness.until(lambda: not host.processes(), "its children end with it", patience=20)
        host.start()
        listed = {entry["version"] for entry in cli.json("describe", "tide")["versions"]}
        assert acknowledged <= listed, f"lost: {acknowledged - listed}"
        assert listed <= acknowledged | {version}
        acknowledged = listed
        for serving in listed:
            answer = cli.call(f"{TIDE}/Height", {"hour": 7}, "--module", f"tide@{serving}")
            assert answer == {"value": 7}
    assert torn, "some pushes were cut"
    # The name takes pushes as before, and nothing of the torn ones is left for good.
    cli.push(components("tide-2"), "--name", "tide", "--version", "0.1.0")
    host.restart()
    staged = [p for p in host.data_dir.rglob("*") if p.is_file() and "staging" in p.parts]
    assert not staged


def test_a_host_comes_back_after_kill_9_while_serving(new_host, components):
    host = new_host().start()
    cli = Cli(host)
    cli.push(components("tide-1"), "--name", "tide")
    with Load(host, callers=4) as load:
        harness.until(lambda: load.answered() > 10, "the load runs")
        host.kill()
    host.start()
    assert cli.call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}


def test_a_second_host_on_the_same_data_is_refused(new_host):
    host = new_host().start()
    command = [BIN, "serve", "--listen", "127.0.0.1:0", "--data-dir", host.data_dir]
    second = roadstead_raw([str(part) for part in command])
    assert second.returncode == 1
    assert "listening" not in second.stdout
    assert "use" in second.stderr or "lock" in second.stderr
    assert Cli(host).json("list") is not None


def test_a_taken_port_is_said(new_host, tmp_path):
    host = new_host().start()
    done = roadstead("serve", "--listen", host.address, "--data-dir", tmp_path / "b", code=1)
    assert host.address in done.stderr


def test_beyond_loopback_needs_a_word(tmp_path, new_host):
    refused = roadstead("serve", "--listen", "0.0.0.0:0", "--data-dir", tmp_path / "a", code=2)
    assert "--insecure-no-auth" in refused.stderr
    host = new_host("--insecure-no-auth", listen="0.0.0.0:0").start()
    assert host.stop() == 0


@pytest.fixture
def certificate(tmp_path):
    subprocess.run([harness.FIXTURE_BIN, "certificate", "-o", tmp_path], check=True)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_tls(new_host, certificate, components):
    cert, key = certificate
    host = new_host("--tls-cert", cert, "--tls-key", key).start()
    port = host.address.rsplit(":", 1)[1]
    host.address = f"localhost:{port}"
    cli = Cli(host, extra=["--ca", str(cert)])
    cli.push(components("tide-1"), "--name", "tide")
    assert cli.call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}
    credentials = grpc.ssl_channel_credentials(cert.read_bytes())
    with grpc.secure_channel(host.address, credentials) as channel:
        assert channel.unary_unary(HEIGHT)(b"\x08\x05") == b"\x08\x05"
    for version in ("--http1.1", "--http2"):
        answer = subprocess.run(
            [
                "curl", "--silent", "--show-error", "--max-time", "60", version,
                "--cacert", cert, "-w", "\\n%{http_version}",
                "-H", "content-type: application/json", "-d", '{"hour": 9}',
                f"https://{host.address}{HEIGHT}",
            ],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        body, used = answer.rsplit("\n", 1)
        assert json.loads(body) == {"value": 9}
        assert used == version.removeprefix("--http")
    # Without the certificate, or without TLS, nobody gets in.
    Cli(host).run("list", code=1)
    with grpc.insecure_channel(host.address) as channel:
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(HEIGHT)(b"\x08\x05", timeout=10)


def test_half_of_the_tls_flags_is_wrong_usage(tmp_path, certificate):
    cert, _ = certificate
    roadstead("serve", "--data-dir", tmp_path / "x", "--tls-cert", cert, code=2)
    done = roadstead(
        "serve", "--data-dir", tmp_path / "x", "--listen", "127.0.0.1:0",
        "--tls-cert", tmp_path / "none.pem", "--tls-key", tmp_path / "none.pem", code=1,
    )  # fmt: skip
    assert "none.pem" in done.stderr


def test_a_damaged_catalog_is_said_not_served(new_host, components):
    host = new_host().start()
    Cli(host).push(components("tide-1"), "--name", "tide")
    host.stop()
    catalogs = list(host.data_dir.rglob("*.redb"))
    assert catalogs
    for path in catalogs:
        path.write_bytes(b"not a catalog" * 1000)
    command = [BIN, "serve", "--listen", "127.0.0.1:0", "--data-dir", host.data_dir]
    done = roadstead_raw([str(part) for part in command])
    assert done.returncode == 1
    assert "panicked" not in done.stderr


def test_a_copied_data_directory_serves_too(tmp_path, new_host, components):
    host = new_host(data_dir=tmp_path / "one").start()
    Cli(host).push(components("tide-1"), "--name", "tide")
    host.stop()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    copied = new_host(data_dir=tmp_path / "two").start()
    assert Cli(copied).call(f"{TIDE}/Height", {"hour": 4}) == {"value": 4}


def test_settings_come_from_a_file_too(tmp_path, components):
    settings = tmp_path / "host.toml"
    settings.write_text('max_upload = "1Ki"\n')
    host = Host(tmp_path / "data", "--config", settings).start()
    with contextlib.ExitStack() as stack:
        stack.callback(host.kill)
        Cli(host).push(components("kinds"), "--name", "kinds", code=1)
    settings.write_text('max_uplode = "1Ki"\n')
    done = roadstead("serve", "--data-dir", tmp_path / "data", "--config", settings, code=2)
    assert "max_uplode" in done.stderr
