"""Three hosts of a pool, asked as one: logs, top and status, by the command line."""

import json
import secrets
import socket
import subprocess

import harness
import pytest
from harness import Cli, Host, module
from test_auth import Tokens
from test_fleet import free_port

LINES = "hostile.log_flood.log_flood.v0_1.LogFlood/Lines"
NAMES = ("one", "three", "two")


class Pool:
    """Hosts that know each other, all with the module that talks."""

    def __init__(self, tmp_path, flags=(), cli=(), more=()):
        self.ports = {name: free_port() for name in NAMES}
        key = tmp_path / "pool.key"
        key.write_text(secrets.token_hex(32))
        addresses = [(name, f"http://127.0.0.1:{port}") for name, port in self.ports.items()]
        peers = [f"{name} = '{address}'" for name, address in [*addresses, *more]]
        self.hosts, self.cli = {}, {}
        for name, port in self.ports.items():
            settings = tmp_path / f"{name}.toml"
            # Only on a closed network may others be called in plain text.
            lines = ["insecure_no_auth = true"] if more else []
            lines += ["[pool]", f"host = '{name}'", f"key_file = '{key}'", "[pool.peers]", *peers]
            settings.write_text("\n".join(lines))
            listen = f"127.0.0.1:{port}"
            host = Host(tmp_path / name, "--config", settings, *flags, listen=listen).start()
            self.hosts[name] = host
            self.cli[name] = Cli(host, "team-a", extra=cli)
            self.cli[name].push(module("hostile-log-flood"), "--name", "talker")

    def talk(self, name, count=1, length=10):
        self.cli[name].call(LINES, {"count": count, "length": length})

    def end(self):
        for host in self.hosts.values():
            if host.process.poll() is None:
                host.kill()


@pytest.fixture
def pools(tmp_path):
    made = []

    def make(**how):
        made.append(Pool(tmp_path, **how))
        return made[-1]

    yield make
    for pool in made:
        pool.end()


def hosts_of(lines):
    return [json.loads(line)["host"] for line in lines.splitlines()]


def test_all_hosts_are_asked_as_one(pools):
    # The resolver refuses this one by itself, as it answers of a name that is not there.
    pool = pools(more=[("four", f"http://{'a' * 64}.invalid:7411")])
    for name, count in (("two", 2), ("one", 1), ("three", 3)):
        pool.talk(name, count)
    one = pool.cli["one"]

    logs = one.run("--json", "logs", "talker")
    assert hosts_of(logs.stdout) == ["two"] * 2 + ["one"] + ["three"] * 3
    assert logs.stderr == ""
    text = one.run("logs", "talker", "--tail", "1").stdout
    assert len(text.splitlines()) == 1 and " three " in text
    assert hosts_of(one.run("--json", "logs", "talker", "--this-host").stdout) == ["one"]

    top = one.json("top", "--once")
    assert [module["calls"] for module in top["modules"]] == ["3"]
    apart = one.json("top", "--once", "--by-host")["modules"]
    # The busiest comes first.
    counted = sorted((module["host"], module["calls"]) for module in apart)
    assert counted == [(name, "1") for name in NAMES]
    assert one.json("top", "--once", "--this-host")["modules"][0]["calls"] == "1"
    assert "on 3 hosts" in one.run("top", "--once").stdout

    status = one.json("status")
    assert [host["name"] for host in status["hosts"]] == list(NAMES)
    assert all(host["ready"] and host["modules"] == "1" for host in status["hosts"])
    shown = one.run("status").stdout
    assert [line.split()[0] for line in shown.splitlines()] == ["HOST", *NAMES]
    assert len(one.json("status", "--this-host")["hosts"]) == 1


def test_who_does_not_answer_is_named_and_the_others_are_told(pools):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = f"http://127.0.0.1:{silent.getsockname()[1]}"
        pool = pools(more=[("slow", slow)])
        for name in NAMES:
            pool.talk(name)
        pool.hosts["two"].kill()
        one = pool.cli["one"]
        for verb in (("status",), ("top", "--once"), ("logs", "talker")):
            done = one.run(*verb, code=0)
            assert "host two did not answer: it cannot be reached" in done.stderr, done
            assert "host slow did not answer: it did not answer in time" in done.stderr, done
        status = {host["name"]: host["error"] for host in one.json("status")["hosts"]}
        assert [name for name, error in status.items() if not error] == ["one", "three"]
        assert hosts_of(one.run("--json", "logs", "talker").stdout) == ["one", "three"]


def test_a_log_is_followed_over_hosts_that_come_and_go(pools):
    pool = pools()
    following = subprocess.Popen(
        pool.cli["one"].command("logs", "talker", "-f"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for name in ("two", "one", "three"):
            pool.talk(name)
            assert f" {name} " in following.stdout.readline()
        pool.hosts["two"].kill()
        assert following.stderr.readline().startswith("host two is gone: ")
        pool.hosts["two"].start()
        assert following.stderr.readline() == "host two is there\n"
        pool.talk("two")
        assert " two " in following.stdout.readline()
    finally:
        following.kill()


def test_huge_logs_stay_within_what_is_kept(pools):
    pool = pools()
    for name in NAMES:
        for _ in range(3):
            pool.talk(name, count=1000, length=1000)
    lines = pool.cli["one"].run("--json", "logs", "talker").stdout
    # A host keeps a mebibyte of each module.
    assert len(lines) < 3 * (2 << 20)
    assert set(hosts_of(lines)) == set(NAMES)


def test_each_host_knows_who_asks(pools, tmp_path):
    tokens = Tokens(tmp_path)
    for name in ("reader", "publisher", "root"):
        tokens.new(name)
    grants = [("token:reader", "reader", "team-a"), ("token:publisher", "publisher", "team-a"),
              ("token:root", "admin", "*")]  # fmt: skip
    policy = tokens.write(*grants)
    pool = pools(flags=("--auth", policy), cli=("--token", tokens["root"]))
    elsewhere = Cli(pool.hosts["two"], "team-b", extra=["--token", tokens["root"]])
    elsewhere.push(module("hostile-log-flood"), "--name", "secret")
    pool.talk("two")

    def at_one(who, *verb, code=0):
        return Cli(pool.hosts["one"], "team-a", extra=["--token", tokens[who]]).run(*verb, code=code)

    for who in ("reader", "publisher", "root"):
        status = json.loads(at_one(who, "--json", "status").stdout)["hosts"]
        assert [(host["error"], host["modules"]) for host in status] == [("", "1")] * 3
        assert "secret" not in at_one(who, "top", "--once", "--by-host").stdout
    assert hosts_of(at_one("publisher", "--json", "logs", "talker").stdout) == ["two"]
    assert "NOT_GRANTED" in at_one("reader", "logs", "talker", code=1).stderr
    assert "NOT_GRANTED" in at_one("publisher", "status", "--all-namespaces", code=1).stderr
    whole = json.loads(at_one("root", "--json", "status", "--all-namespaces").stdout)["hosts"]
    assert {host["name"]: host["modules"] for host in whole} == {"one": "1", "three": "1", "two": "2"}
    assert "team-b/secret" in at_one("root", "top", "--once", "--all-namespaces").stdout
