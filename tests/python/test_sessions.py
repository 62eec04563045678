"""Resources as sessions: handles held by clients of every kind, and what becomes of them."""

import base64
import http.client
import json

import grpc
import pytest
from errors import failure
from harness import Cli, module, namespaced, until

PACKAGE = "demo.running_stats.stats.v0_1"
SERIES = f"{PACKAGE}.StatsSeries"


class Client:
    """Stubs of the module, in a namespace."""

    def __init__(self, stubs, channel, namespace):
        self.messages, services = stubs.load("demo/running_stats/stats/v0_1/stats")
        self.series = services.StatsSeriesStub(channel)
        self.stats = services.StatsStub(channel)
        self.metadata = namespaced(namespace)

    def create(self, *extra):
        request = self.messages.StatsSeriesCreateRequest()
        return self.series.Create(request, metadata=[*self.metadata, *extra]).value

    def add(self, handle, *numbers, metadata=None):
        request = self.messages.StatsSeriesAddRequest(numbers=numbers)
        getattr(request, "self").CopyFrom(handle)
        return self.series.Add.with_call(request, metadata=metadata or self.metadata)

    def count(self, handle, *numbers):
        return self.add(handle, *numbers)[0].ok

    def answering(self, handle):
        """The version and kind of instance that a handle leads to."""
        trailers = dict(self.add(handle)[1].trailing_metadata())
        return trailers["roadstead-module"], trailers["roadstead-instance"]

    def fails(self, handle):
        return failure(lambda: self.add(handle, 1.0))

    def beside(self, handle):
        request = self.messages.StatsSeriesBesideRequest()
        getattr(request, "self").CopyFrom(handle)
        return self.series.Beside(request, metadata=self.metadata).value

    def summary(self, handle):
        request = self.messages.StatsSeriesSummaryRequest()
        getattr(request, "self").CopyFrom(handle)
        return self.series.Summary(request, metadata=self.metadata)

    def drop(self, handle):
        request = self.messages.StatsSeriesDropRequest()
        getattr(request, "self").CopyFrom(handle)
        return self.series.Drop(request, metadata=self.metadata)


def push(cli, tmp_path, *args, spec="", name="running-stats"):
    file = tmp_path / "spec.yaml"
    file.write_text(spec)
    cli.push(module("running-stats"), "--name", name, "--spec", file, *args)


@pytest.fixture(scope="session")
def generated(host, stubs, tmp_path_factory):
    cli = Cli(host, "sessions-stubs")
    protos = tmp_path_factory.mktemp("sessions-protos")
    cli.push(module("running-stats"), "--name", "running-stats")
    cli.run("proto", "running-stats", "-o", protos)
    stubs.generate(protos)
    return stubs


@pytest.fixture
def client(generated, channel, cli, namespace, tmp_path):
    push(cli, tmp_path)
    return Client(generated, channel, namespace)


def sessions(cli, name="running-stats"):
    modules = {one["name"]: one for one in cli.json("top", "--once")["modules"]}
    return int(modules[name].get("sessions", 0))


def test_an_instance_lives_behind_a_handle(client, cli):
    handle = client.create()
    assert client.answering(handle) == ("running-stats@0.1.0", "session")
    assert client.count(handle, 2.0, 4.0) == 2
    assert client.count(handle, 6.0) == 3
    summary = client.summary(handle).value
    assert (summary.count, summary.mean, summary.least, summary.greatest) == (3, 4.0, 2.0, 6.0)
    other = client.create()
    assert not client.summary(other).HasField("value")
    assert sessions(cli) == 2
    assert "2 sessions" in cli.run("describe", "running-stats").stdout
    client.drop(other)
    client.drop(handle)
    assert sessions(cli) == 0
    gone = client.fails(handle)
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_HANDLE")


def test_handles_of_one_session_go_together(client):
    one = client.create()
    other = client.beside(one)
    client.add(one, 1.0, 2.0, 3.0)
    client.add(other, 2.0, 3.0, 4.0)
    messages = client.messages
    compare = messages.CompareRequest(a=one, b=other)
    apart = client.stats.Compare(compare, metadata=client.metadata).value
    assert abs(apart + 1.2247449) < 1e-6
    stranger = messages.CompareRequest(a=one, b=client.create())
    mixed = failure(lambda: client.stats.Compare(stranger, metadata=client.metadata))
    assert (mixed.code, mixed.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "MIXED_SESSIONS",
    )
    merge = messages.StatsSeriesMergeRequest(all=[one, other])
    whole = client.series.Merge(merge, metadata=client.metadata).value
    assert client.summary(whole).value.count == 6
    assert client.fails(one).reason == client.fails(other).reason == "NO_SUCH_HANDLE"


def test_what_is_no_handle_leads_nowhere(client, cli):
    handle = client.create()
    for wrong in (b"", b"x" * 80, handle.id[:-1], bytes([handle.id[0] ^ 1]) + handle.id[1:]):
        refused = client.fails(client.messages.SeriesHandle(id=wrong))
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_HANDLE")
    missing = failure(
        lambda: client.series.Add(client.messages.StatsSeriesAddRequest(), metadata=client.metadata)
    )
    assert (missing.reason, missing.fields) == ("BAD_INPUT", ["self"])
    # The same module elsewhere: its callers have no part in this namespace's sessions.
    Cli(cli.host, f"{cli.namespace}-other").push(module("running-stats"), "--name", "running-stats")
    elsewhere = namespaced(f"{cli.namespace}-other")
    foreign = failure(lambda: client.add(handle, 1.0, metadata=elsewhere))
    assert (foreign.code, foreign.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_HANDLE")
    assert client.count(handle, 1.0) == 1


def test_sessions_stay_on_their_version(client, cli, tmp_path):
    old = client.create()
    push(cli, tmp_path, "--version", "0.2.0", spec="limits: {fuel_per_call: 1_000_000_000}")
    new = client.create()
    assert client.answering(old)[0] == "running-stats@0.1.0"
    assert client.answering(new)[0] == "running-stats@0.2.0"
    cli.run("pin", "running-stats@0.1.0")
    assert client.answering(new)[0] == "running-stats@0.2.0"
    assert client.answering(client.create())[0] == "running-stats@0.1.0"
    cli.run("unpin", "running-stats")
    # What no longer has the service answers new calls, and the sessions go on.
    cli.push(module("echo"), "--name", "running-stats", "--version", "0.3.0", "--force")
    cli.run("pin", "running-stats@0.3.0")
    assert failure(client.create).code == grpc.StatusCode.UNIMPLEMENTED
    assert client.answering(old)[0] == "running-stats@0.1.0"
    cli.run("unpin", "running-stats")
    cli.run("delete", "running-stats@0.1.0")
    lost = client.fails(old)
    assert (lost.code, lost.reason) == (grpc.StatusCode.NOT_FOUND, "SESSION_LOST")
    assert "deleted" in lost.text
    assert client.answering(new)[0] == "running-stats@0.2.0"


def test_a_handle_says_which_of_several_modules_is_called(client, cli, tmp_path):
    push(cli, tmp_path, name="stats-too")
    assert failure(client.create).reason == "AMBIGUOUS_MODULE"
    handles = {name: client.create(("roadstead-module", name)) for name in ("running-stats", "stats-too")}
    for name, handle in handles.items():
        assert client.answering(handle) == (f"{name}@0.1.0", "session")
    missing = failure(
        lambda: client.series.Add(client.messages.StatsSeriesAddRequest(), metadata=client.metadata)
    )
    assert missing.reason == "AMBIGUOUS_MODULE"


def test_sessions_end_when_nobody_calls(client, cli, tmp_path):
    push(cli, tmp_path, "--version", "0.2.0", spec="limits: {session_idle: 300ms}")
    handle = client.create()
    client.add(handle, 1.0)
    until(lambda: sessions(cli) == 0, "the session ends")
    gone = client.fails(handle)
    assert (gone.code, gone.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_HANDLE")


def test_a_module_has_as_many_sessions_as_its_spec_says(client, cli, tmp_path):
    push(cli, tmp_path, "--version", "0.2.0", spec="instances: {sessions: 2}")
    first, _second = client.create(), client.create()
    full = failure(client.create)
    assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert full.retry is not None and "instances.sessions" in full.text
    client.drop(first)
    client.create()


def test_a_restart_loses_sessions_and_says_so(generated, new_host, tmp_path):
    host = new_host().start()
    push(Cli(host), tmp_path)
    with host.channel() as channel:
        handle = Client(generated, channel, None).create()
    host.restart()
    with host.channel() as channel:
        client = Client(generated, channel, None)
        lost = client.fails(handle)
        assert (lost.code, lost.reason) == (grpc.StatusCode.NOT_FOUND, "SESSION_LOST")
        assert client.count(client.create(), 1.0) == 1
    assert host.stop() == 0


def test_handles_in_json(client, cli, host, namespace):
    created = cli.call(f"{SERIES}/Create")
    handle = created["value"]
    assert base64.b64decode(handle["id"])
    assert cli.call(f"{SERIES}/Add", {"self": handle, "numbers": [1, 3]}) == {"ok": "2"}
    connection = http.client.HTTPConnection(host.address, timeout=60)
    connection.request(
        "POST",
        f"/{SERIES}/Summary",
        json.dumps({"self": handle}),
        {"content-type": "application/json", "roadstead-namespace": namespace},
    )
    answer = connection.getresponse()
    assert json.load(answer)["value"]["mean"] == 2
    assert answer.headers["trailer-roadstead-instance"] == "session"
    assert cli.call(f"{SERIES}/Drop", {"self": handle}) == {}
    said = cli.call(f"{SERIES}/Summary", {"self": handle}, code=1)
    assert "NO_SUCH_HANDLE" in said.stderr


def test_many_sessions_at_once(client):
    handles = [client.create() for _ in range(10)]
    adds = []
    for round_ in range(20):
        for handle in handles:
            request = client.messages.StatsSeriesAddRequest(numbers=[float(round_)])
            getattr(request, "self").CopyFrom(handle)
            adds.append(client.series.Add.future(request, metadata=client.metadata))
    assert sorted(add.result().ok for add in adds) == sorted(list(range(1, 21)) * 10)
    # The calls of a session come in any order, by which the last digits differ.
    means = [client.summary(handle).value.mean for handle in handles]
    assert means == pytest.approx([9.5] * 10)
