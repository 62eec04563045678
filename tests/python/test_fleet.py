"""Several hosts behind one client: connections that end, hosts that leave, sessions found anywhere."""

import json
import secrets
import signal
import socket
import threading
import urllib.error
import urllib.request

import grpc
import harness
import pytest
from errors import failure
from harness import Cli, Host, module, roadstead
from test_sessions import Client
from wire import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, WINDOW, Wire, frame
from wire import grpc_message as message

HEIGHT = "/acme.tide.tide.v0_1.Tide/Height"
# As clients are told to set it, but without retries: what fails must be seen.
PAGE = (harness.ROOT / "docs/clients.md").read_text()
SERVICE_CONFIG = json.loads(PAGE.split("```json\n")[1].split("```")[0])
ROUND_ROBIN = json.dumps({"loadBalancingConfig": SERVICE_CONFIG["loadBalancingConfig"]})


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Callers:
    """Threads that call without a pause over one channel to all hosts; what fails, and who answers."""

    def __init__(self, hosts, threads=4):
        target = "ipv4:" + ",".join(host.address for host in hosts)
        options = [
            ("grpc.service_config", ROUND_ROBIN),
            ("grpc.use_local_subchannel_pool", 1),
            # Else it is the whole list.
            ("grpc.default_authority", "localhost"),
        ]
        self.channel = grpc.insecure_channel(target, options=options)
        self.done = threading.Event()
        self.answered, self.failures = 0, []
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(threads)]

    def work(self):
        call = self.channel.unary_unary(HEIGHT)
        while not self.done.is_set():
            try:
                call(b"\x08\x05", timeout=harness.PATIENCE)
                self.answered += 1
            except grpc.RpcError as error:
                self.failures.append((error.code(), error.details()))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.until(20)
        return self

    def until(self, more):
        wanted = self.answered + more
        harness.until(lambda: self.answered >= wanted or self.failures, "calls are answered")
        assert not self.failures, self.failures[:3]

    def __exit__(self, *exception):
        self.done.set()
        for thread in self.threads:
            thread.join()
        self.channel.close()


@pytest.fixture
def fleet(tmp_path):
    """Makes hosts with settings of their own."""
    made = []

    def make(name, settings="", listen="127.0.0.1:0"):
        config = tmp_path / f"{name}.toml"
        config.write_text(settings)
        made.append(Host(tmp_path / name, "--config", config, listen=listen).start())
        return made[-1]

    yield make
    for host in made:
        if host.process.poll() is None:
            host.kill()


def metric(port, name):
    """A series of the metrics' port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(name):
                return float(line.split()[-1])
    raise AssertionError(f"no {name}")


def ready(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz").status == 200
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return False


def test_connections_that_grow_old_fail_no_call(fleet, components):
    ports = [free_port(), free_port()]
    hosts = [
        fleet(f"host-{port}", "\n".join([
            "http.connection_age = '1s'",
            f"metrics.listen = '127.0.0.1:{port}'",
        ]))
        for port in ports
    ]  # fmt: skip
    for host in hosts:
        Cli(host).push(components("tide-1"), "--name", "tide")
    ended = 'roadstead_connections_ended_total{reason="age"}'
    with Callers(hosts) as callers:
        harness.until(
            lambda: all(metric(port, ended) >= 4 for port in ports) or callers.failures,
            "connections of both hosts have ended by their age",
        )
    assert not callers.failures, callers.failures[:3]


def test_what_is_asked_too_late_fails_nothing_that_runs(fleet, components):
    host = fleet("host", "http.connection_age = '300ms'")
    Cli(host, "attacks").push(components("tide-1"), "--name", "tide")
    name, port = host.address.rsplit(":", 1)
    with Wire((name, int(port))) as wire:
        wire.open(1, HEIGHT)
        frames = wire.frames(harness.PATIENCE)
        assert any(kind == GOAWAY for kind, *_ in frames)
        asked = next(payload for kind, flags, _, payload in frames if kind == PING and not flags)
        late = frame(HEADERS, END_HEADERS, 3, wire.head(HEIGHT)) + frame(WINDOW, 0, 3, b"\0\0\0\5")
        rest = frame(DATA, END_STREAM, 1, message(b"\x08\x05"))
        wire.send(frame(PING, ACK, 0, asked) + late + rest)
        assert next(payload[4:8] for kind, *_, payload in frames if kind == GOAWAY) == bytes(4)
        status = {}
        while "grpc-status" not in status:
            answer = (said for kind, _, stream, said in frames if (kind, stream) == (HEADERS, 1))
            status = dict(wire.decoder.decode(next(answer)))
    assert status["grpc-status"] == "0"


def test_a_host_that_leaves_fails_no_call(fleet, components):
    port = free_port()
    settings = f"drain_grace = '2s'\nmetrics.listen = '127.0.0.1:{port}'"
    leaving, staying = fleet("leaving", settings), fleet("staying")
    for host in (leaving, staying):
        Cli(host).push(components("tide-1"), "--name", "tide")
    assert ready(port)
    with Callers([leaving, staying]) as callers:
        leaving.process.send_signal(signal.SIGTERM)
        harness.until(lambda: not ready(port), "the host says that it leaves")
        # It serves those who come although it is not ready.
        with leaving.channel() as late:
            assert late.unary_unary(HEIGHT)(b"\x08\x05") is not None
        callers.until(50)
        assert leaving.process.wait(harness.PATIENCE) == 0, leaving.log()
        callers.until(50)
    assert not callers.failures, callers.failures[:3]


def test_a_second_signal_ends_a_drain(fleet):
    for first, second in [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT),
        (signal.SIGINT, signal.SIGINT),
    ]:
        host = fleet(f"host-{first}-{second}", "drain_grace = '10h'")
        host.process.send_signal(first)
        harness.until(lambda host=host: "draining" in host.log(), "the drain begins")
        host.process.send_signal(second)
        assert host.process.wait(harness.PATIENCE) == 0


class Pool:
    """Two hosts that know each other, both with the module that has sessions."""

    def __init__(self, fleet, tmp_path, secret="shared", other_secret=None):
        ports = {name: free_port() for name in ("one", "two")}
        self.metrics = {name: free_port() for name in ports}
        self.hosts = {}
        for name, port in ports.items():
            key = tmp_path / f"{name}.key"
            key.write_text((other_secret if name == "two" and other_secret else secret) * 8)
            peers = "\n".join(f"{peer} = 'http://127.0.0.1:{at}'" for peer, at in ports.items())
            settings = "\n".join([
                f"metrics.listen = '127.0.0.1:{self.metrics[name]}'",
                "[pool]", "name = 'pool'", f"host = '{name}'", f"key_file = '{key}'",
                "[pool.peers]", peers,
            ])  # fmt: skip
            host = fleet(name, settings, listen=f"127.0.0.1:{port}")
            Cli(host).push(module("running-stats"), "--name", "running-stats")
            self.hosts[name] = host


@pytest.fixture
def pool(fleet, tmp_path):
    return Pool(fleet, tmp_path, secrets.token_hex(8))


@pytest.fixture(scope="session")
def generated(host, stubs, tmp_path_factory):
    protos = tmp_path_factory.mktemp("fleet-protos")
    cli = Cli(host, "fleet-stubs")
    cli.push(module("running-stats"), "--name", "running-stats")
    cli.run("proto", "running-stats", "-o", protos)
    stubs.generate(protos)
    return stubs


def test_a_session_is_found_through_any_host(pool, generated):
    one, two = pool.hosts["one"], pool.hosts["two"]
    with one.channel() as at_one, two.channel() as at_two:
        here, there = (Client(generated, at, None) for at in (at_one, at_two))
        handle = here.create()
        assert [here.count(handle, 2.0), there.count(handle, 4.0, 6.0)] == [1, 3]
        assert here.summary(handle).value.count == there.summary(handle).value.count == 3
        assert there.answering(handle) == ("running-stats@0.1.0", "session")
        beside = there.beside(handle)
        assert here.count(beside, 1.0) == there.count(beside) == 1
        forwarded = 'roadstead_calls_forwarded_total{end="answered"}'
        assert metric(pool.metrics["two"], forwarded) == 5
        assert metric(pool.metrics["one"], "roadstead_calls_arrived_total") == 5
        assert metric(pool.metrics["one"], forwarded) == 0
        one.kill()
        lost = there.fails(handle)
        assert (lost.code, lost.reason) == (grpc.StatusCode.NOT_FOUND, "SESSION_LOST")
        one.start()
        # A host that could not be reached is left alone for a moment.
        harness.until(lambda: "anew" in str(there.fails(handle)), "the host says it itself")
        assert there.fails(handle).reason == "SESSION_LOST"


def test_a_session_of_another_pool_is_nobodys(fleet, tmp_path, generated):
    pool = Pool(fleet, tmp_path, secrets.token_hex(8), secrets.token_hex(8))
    with pool.hosts["one"].channel() as at_one, pool.hosts["two"].channel() as at_two:
        handle = Client(generated, at_one, None).create()
        stranger = Client(generated, at_two, None).fails(handle)
        assert stranger.reason == "NO_SUCH_HANDLE"


def test_the_documented_settings_of_a_client_work(fleet, components, tmp_path, monkeypatch):
    host = fleet("host")
    Cli(host).push(components("tide-1"), "--name", "tide")
    blocks = [block.split("```")[0] for block in PAGE.split("```python\n")[1:]]
    (tmp_path / "service-config.json").write_text(json.dumps(SERVICE_CONFIG))
    (tmp_path / "ca.pem").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    # Without the name and the certificate of a cluster.
    name = "dns:///roadstead-hosts.roadstead.svc.cluster.local:7411"
    package, plain, retry = [block.replace(name, host.address) for block in blocks]
    made = {"insecure": lambda target, _, options: grpc.insecure_channel(target, options=options)}
    exec(package.replace('tls=Path("ca.pem"), ', "").replace("text-stats", "tide"), made)
    assert "tide" in repr(made["stats"])
    made["host"].close()
    exec(plain.replace("grpc.secure_channel(", "insecure("), made)
    exec(retry, made)
    with made["channel"] as channel:
        assert channel.unary_unary(HEIGHT)(b"\x08\x05") is not None
        with pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary("/no.Such/Method")(b"")
    assert made["retry_after"](refused.value) is None


def test_settings_of_a_fleet_are_checked(tmp_path):
    settings = tmp_path / "host.toml"
    for text, what in [
        ("[pool]\nname = 'A'", "name = 'A'"),
        ("[pool]\n[pool.peers]\nb = 'http://127.0.0.1:1'", "pool.key_file"),
        ("[pool]\nname = 'a'\nkey_file = 'k'\n[pool.peers]\nb = 'http://10.0.0.1:1'", "https"),
        ("drain_grace = 'soon'", "drain_grace"),
        ("[http]\nconnection_age = '0s'", "connection_age"),
    ]:
        settings.write_text(text)
        flags = ("--data-dir", tmp_path / "data", "--config", settings)
        done = roadstead("serve", "--listen", "127.0.0.1:0", *flags, code=2)
        assert what in done.stderr, done.stderr
    key = tmp_path / "key"
    key.write_text("short")
    settings.write_text(f"[pool]\nname = 'a'\nhost = 'a'\nkey_file = '{key}'")
    flags = ("--data-dir", tmp_path / "data", "--config", settings)
    done = roadstead("serve", "--listen", "127.0.0.1:0", *flags, code=1)
    assert "32" in done.stderr, done.stderr
