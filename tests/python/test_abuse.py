"""Clients that cost more than they pay, and what the host tells those who watch it."""

import re
import socket
import time
import urllib.error
import urllib.request

import grpc
from errors import failure
from harness import PATIENCE, Cli, namespaced, roadstead
from prometheus_client.openmetrics.parser import text_string_to_metric_families

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + bytes(8)
HEIGHT = "/acme.tide.tide.v0_1.Tide/Height"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def connect(host):
    name, port = host.address.rsplit(":", 1)
    return socket.create_connection((name, int(port)), timeout=PATIENCE)


def metrics_of(host):
    return re.search(r"metrics on (http://\S+)/metrics", host.log())[1]


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def samples(host):
    """Every sample by its name and labels."""
    status, text = get(metrics_of(host) + "/metrics")
    assert status == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def until(done):
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def floods(host, frame):
    """Sends frames until the host hangs up."""
    with connect(host) as peer:
        peer.sendall(PREFACE)
        try:
            for _ in range(10_000):
                peer.sendall(frame * 100)
        except OSError:
            return
    raise AssertionError("the host took a million frames")


def test_floods_are_ended_and_others_are_served(new_host, components):
    host = new_host("--metrics", "127.0.0.1:0").start()
    Cli(host, "peace").push(components("tide-1"), "--name", "tide")
    with host.channel() as channel:
        call = channel.unary_unary(HEIGHT)
        for frame in (PING, bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])):
            floods(host, frame)
            call(b"\x08\x05", metadata=namespaced("peace"), timeout=PATIENCE)
    ended = ("roadstead_connections_ended_total", (("reason", "flood"),))
    until(lambda: samples(host)[ended] == 2)
    assert samples(host)[("roadstead_panics_total", ())] == 0


def test_connections_of_one_peer_are_bounded_by_the_settings(new_host, tmp_path):
    settings = tmp_path / "host.toml"
    settings.write_text("[http]\nmax_connections_per_peer = 3\n[metrics]\nlisten = '127.0.0.1:0'\n")
    host = new_host("--config", settings).start()
    held = [connect(host) for _ in range(3)]
    until(lambda: samples(host)[("roadstead_open_connections", ())] == 3)
    with connect(host) as refused:
        said = refused.makefile("rb").read()
    assert b"too many connections from this address" in said
    held.pop().close()
    until(lambda: samples(host)[("roadstead_open_connections", ())] == 2)
    assert Cli(host).json("list")["modules"] == []


def test_metrics_count_calls_and_faults_by_module(new_host, components):
    host = new_host("--metrics", "127.0.0.1:0").start()
    Cli(host).push(components("tide-1"), "--name", "tide", "--version", "1.2.3")
    with host.channel() as channel:
        call = channel.unary_unary(HEIGHT)
        call(b"\x08\x05", timeout=PATIENCE)
        sent = (("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"),)
        error = failure(lambda: call(b"\xff", metadata=sent, timeout=PATIENCE))
        assert error.info.metadata["trace_id"] == TRACE
    tide = (("module", "tide"), ("namespace", "default"), ("version", "1.2.3"))
    found = samples(host)
    assert found[("roadstead_module_calls_total", tide)] == 2
    bad = tuple(sorted([*tide, ("reason", "BAD_INPUT")]))
    assert found[("roadstead_module_faults_total", bad)] == 1
    base = metrics_of(host)
    assert get(base + "/healthz")[0] == 200
    assert get(base + "/readyz")[0] == 200


def test_wrong_settings_are_wrong_usage(tmp_path):
    settings = tmp_path / "host.toml"
    for text in ("[http]\nmax_streams = 0\n", "[http]\nno_such = 1\n", "nonsense"):
        settings.write_text(text)
        roadstead("serve", "--data-dir", tmp_path / "data", "--config", settings, code=2)
    refused = roadstead("serve", "--data-dir", tmp_path / "data", "--metrics", "0.0.0.0:0", code=2)
    assert "insecure_no_auth" in refused.stderr
