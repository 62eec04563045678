"""Hosts that share a bucket: real hosts, a real API server, and a real server that speaks S3."""

import json
import os
import secrets
import shutil
import urllib.request

import harness
import pytest
from control_plane import free_ports
from harness import Cli, Host, module
from processes import Processes, until

WHO = {"AWS_ACCESS_KEY_ID": "hosts", "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16)}
HEIGHT = "acme.tide.tide.v0_1.Tide/Height"
MADE, APPLIED = "blobs-made", "blobs-applied"


class Bucket:
    """A server on one port, whose objects are files."""

    def __init__(self, folder):
        self.folder, (self.port,) = folder, free_ports(1)
        (folder / "bucket").mkdir(parents=True)
        self.start()

    def start(self):
        self.processes = Processes(self.folder.parent / "logs")
        at = f"127.0.0.1:{self.port}"
        root = {
            "ROOT_ACCESS_KEY": WHO["AWS_ACCESS_KEY_ID"],
            "ROOT_SECRET_KEY": WHO["AWS_SECRET_ACCESS_KEY"],
        }
        command = (harness.TOOLS / "versitygw", "--port", at, "--quiet", "posix", self.folder)
        self.processes.start("versitygw", *command, env={**os.environ, **root})
        self.processes.wait_for("the S3 server", self.answers)

    def answers(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/")
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def stop(self):
        self.processes.stop()

    @property
    def compiled(self):
        return self.folder / "bucket/production/fleet/compiled"


class Fleet:
    def __init__(self, control_plane, bucket, folder):
        self.control_plane, self.bucket, self.folder = control_plane, bucket, folder
        self.hosts = []
        (folder / "pool.key").write_text(secrets.token_hex(32))

    def host(self, name, namespace):
        (metrics,) = free_ports(1)
        settings = f"""
            [catalog.kubernetes]
            kubeconfig = "{self.control_plane.kubeconfig}"
            namespaces = ["{namespace}"]
            pool = "fleet"
            lease_namespace = "{namespace}"
            [pool]
            name = "fleet"
            host = "{name}"
            key_file = "{self.folder / "pool.key"}"
            [blobs]
            kind = "s3"
            bucket = "bucket"
            prefix = "production"
            endpoint = "http://127.0.0.1:{self.bucket.port}"
            allow_http = true
            [metrics]
            listen = "127.0.0.1:{metrics}"
        """
        path = self.folder / f"{name}.toml"
        path.write_text(settings)
        host = Host(self.folder / name, "--config", path).start()
        host.metrics, host.name = metrics, name
        self.hosts.append(host)
        return host

    def stop(self):
        for host in self.hosts:
            if host.process.poll() is None:
                host.kill()


@pytest.fixture
def components(tmp_path):
    """Components made from tests/fixtures, by name and padding."""

    def component(name, padding=0):
        return harness.fixture(name, tmp_path / f"{name}-{padding}.wasm", "--padding", padding)

    return component


@pytest.fixture
def fleet(control_plane, tmp_path, monkeypatch):
    for name, value in {**WHO, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    definitions = harness.ROOT / "k8s/crds"
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", definitions)
    for name in (MADE, APPLIED):
        control_plane.kubectl("create", "namespace", name, code=None)
    kinds = ("modules,moduleversions,wirelocks", "leases")
    bucket = Bucket(tmp_path / "s3")
    made = Fleet(control_plane, bucket, tmp_path)
    yield made
    made.stop()
    bucket.stop()
    for name in (MADE, APPLIED):
        for kind in kinds:
            control_plane.kubectl("-n", name, "delete", kind, "--all")


def compiled(host):
    """How many checks and compilations its workers have finished."""
    with urllib.request.urlopen(f"http://127.0.0.1:{host.metrics}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith('roadstead_compile_tasks_total{end="done"}'):
                return float(line.split()[-1])
    raise AssertionError("no such series")


def code(host):
    return len(list((host.data_dir / "compiled").glob("*/*.code")))


def serves(host, namespace, name):
    done = Cli(host, namespace).run("describe", name, code=None)
    return done.returncode == 0


def apply_elsewhere(control_plane, names):
    """What was published in one namespace, as someone writes it down for another."""
    for kind in ("modules", "moduleversions"):
        for each in control_plane.get("-n", MADE, kind)["items"]:
            if each["spec"].get("module", each["metadata"]["name"]) in names:
                metadata = {"name": each["metadata"]["name"], "namespace": APPLIED}
                each = {**each, "metadata": metadata}
                each.pop("status", None)
                control_plane.kubectl("create", "-f", "-", stdin=json.dumps(each))


def made_without_code(fleet, pushes):
    """Versions in the other namespace whose bytes are stored, and whose code no host has."""
    pusher = fleet.host("pusher", MADE)
    for name, file in pushes.items():
        Cli(pusher, MADE).push(file, "--name", name)
    pusher.stop()
    shutil.rmtree(fleet.bucket.compiled)


def test_what_no_host_has_compiled_is_compiled_once(fleet, components):
    names = [f"tide-{index}" for index in range(5)]
    pushes = {name: components("tide-1", 1000 + at) for at, name in enumerate(names)}
    made_without_code(fleet, pushes)
    hosts = [fleet.host("a", APPLIED), fleet.host("b", APPLIED)]
    before = sum(map(compiled, hosts))
    apply_elsewhere(fleet.control_plane, names)
    until("both have all code", lambda: all(code(host) == len(names) for host in hosts))
    for host in hosts:
        for name in names:
            until("it serves", lambda host=host, name=name: serves(host, APPLIED, name))
    assert sum(map(compiled, hosts)) - before == len(names)
    leases = ("-n", APPLIED, "leases")
    until("no lease is left", lambda: not fleet.control_plane.get(*leases)["items"])


def test_another_host_takes_over_from_one_that_was_killed(fleet):
    # Its compilation takes seconds.
    made_without_code(fleet, {"slow": module("moving-average")})
    hosts = {name: fleet.host(name, APPLIED) for name in ("a", "b")}
    apply_elsewhere(fleet.control_plane, ["slow"])

    def holder():
        found = fleet.control_plane.get("-n", APPLIED, "leases")["items"]
        held = [each for each in found if each["metadata"]["name"].startswith("fleet-compile-")]
        return held[0]["spec"]["holderIdentity"] if held else None

    until("one compiles", lambda: holder() is not None)
    first = holder()
    hosts.pop(first).kill()
    (other,) = hosts.values()
    assert code(other) == 0, "it was killed in the middle"
    until("the other one has compiled it", lambda: code(other) == 1)
    until("for all", lambda: len(list(fleet.bucket.compiled.glob("*/*"))) == 1)


def test_without_the_bucket_what_serves_goes_on(fleet, components):
    a, b = fleet.host("a", APPLIED), fleet.host("b", APPLIED)
    Cli(a, APPLIED).push(components("tide-1"), "--name", "tide")
    until("it serves at the other", lambda: serves(b, APPLIED, "tide"))
    until("its code is there", lambda: code(b) == 1)
    answer = Cli(b, APPLIED).call(HEIGHT, {"hour": 5})
    fleet.bucket.stop()
    failed = Cli(a, APPLIED).push(components("tide-1", 7), "--name", "tide", code=None)
    assert failed.returncode != 0 and "BLOBS_UNAVAILABLE" in failed.stderr, failed.stderr
    for host in (a, b):
        assert Cli(host, APPLIED).call(HEIGHT, {"hour": 5}) == answer
    # A restart finds all that it needs here.
    b.restart()
    assert Cli(b, APPLIED).call(HEIGHT, {"hour": 5}) == answer
    fleet.bucket.start()
    Cli(a, APPLIED).push(components("tide-1", 7), "--name", "tide")
    until("the new code is there", lambda: code(b) == 2)
    for host in (a, b):
        assert WHO["AWS_SECRET_ACCESS_KEY"] not in host.log_path.read_text()
